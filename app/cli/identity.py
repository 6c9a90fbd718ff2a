"""The doctor's question to the identity provider: can its keys be read?"""

from app.cli.finding import Finding, failed, fine
from app.domain.errors import ProviderFailed
from app.settings import Settings

CHECK = "sign-in"


async def provider(settings: Settings) -> list[Finding]:
    """Can the provider be reached, is it the issuer that was set, and does it show keys?"""
    terms = settings.sign_in
    if terms is None:
        return [fine(CHECK, "No identity provider is set: people come with keys.")]
    # Only now: what verifies signatures takes long to load.
    from app.outbound.provider_keys import read_keys  # noqa: PLC0415

    try:
        keys = await read_keys(issuer=terms.issuer, jwks_url=terms.jwks_url)
    except ProviderFailed as error:
        mend = "Mend REELAY_OIDC_ISSUER, REELAY_OIDC_JWKS_URL, the network or the provider. Keys work meanwhile."
        return [failed(CHECK, f"The keys of {terms.issuer} can't be read: {error}", mend)]
    return [fine(CHECK, f"{terms.issuer} shows {len(keys)} key{'' if len(keys) == 1 else 's'} for signatures.")]
