# The image of Reelay: one command, `reelay`, for every role. docs/deploy.md says how to run it, and how to pin the base by digest.
ARG PYTHON_IMAGE=python:3.13-slim-trixie

# Everything is installed here, and only /opt/reelay moves on: no pip, no sources, no caches in the image that runs.
FROM ${PYTHON_IMAGE} AS build
ENV PIP_CACHE_DIR=/var/cache/pip \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_INPUT=1
WORKDIR /src
# For strip, below.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends binutils \
    && rm -rf /var/lib/apt/lists/*
RUN ["/usr/local/bin/python3", "-m", "venv", "/opt/reelay"]
# A package mirror, or a CA of your own, comes in as a secret and stays out of the image.
COPY requirements-otel.lock ./
RUN --mount=type=cache,target=/var/cache/pip \
    --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca_bundle \
    /opt/reelay/bin/python -m pip install --require-hashes --requirement requirements-otel.lock \
    # A sixth of what the packages weigh is of use to debuggers only.
    && find /opt/reelay -name '*.so*' -type f -exec strip --strip-debug {} +
COPY pyproject.toml README.md LICENSE alembic.ini ./
COPY app app
COPY migrations migrations
# The migrations are no part of the wheel. They belong beside the package, where app/db/schema.py looks for them.
RUN /opt/reelay/bin/python -m pip install --no-deps --no-build-isolation --no-index . \
    && site=$(/opt/reelay/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
    && cp -R alembic.ini migrations "$site" \
    && /opt/reelay/bin/python -m compileall -q "$site/migrations" \
    && /opt/reelay/bin/python -m pip uninstall --yes --quiet flit_core pip

FROM ${PYTHON_IMAGE}
# tini is process 1: it hands signals on from the first moment, and reaps what a killed child left behind.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* \
    && groupadd --gid 10001 reelay \
    && useradd --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin reelay \
    && install --directory --owner=10001 --group=10001 --mode=0750 /data
COPY --from=build /opt/reelay /opt/reelay
ENV PATH=/opt/reelay/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    REELAY_DATA_DIR=/data
WORKDIR /data
VOLUME /data
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# For a process that serves. One that only works is asked with `reelay worker --check` (see docker-compose.yml).
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s CMD ["python", "-c", \
    "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8000, timeout=5); c.request('GET', '/healthz'); exit(c.getresponse().status != 200)"]
ENTRYPOINT ["/usr/bin/tini", "--", "reelay"]
CMD ["serve", "--host", "0.0.0.0"]
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Reelay" \
      org.opencontainers.image.description="A self-hosted relay in front of a paid video-generation API" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${REVISION}"
