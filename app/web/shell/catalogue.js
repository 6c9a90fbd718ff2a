// The models, read once: they change with the service, not with the view.

import { useLoaded } from "./ui.js";

let models = null;

export const useModels = (api) => useLoaded(async (call) => (models ??= (await api.models(call)).data.filter(({ known }) => known)), []);
