#!/bin/bash
# As in the official image: root prepares the folders, then becomes postgres.
set -euo pipefail
export PGDATA=/var/lib/postgresql/18/docker
if [ "$(id -u)" -eq 0 ]; then
  install --directory --owner=postgres --group=postgres --mode=700 /var/lib/postgresql/18 "$PGDATA"
  chown postgres /var/run/postgresql
  exec setpriv --reuid=postgres --regid=postgres --init-groups "$0"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb --pgdata="$PGDATA" --encoding=UTF8 --locale=C.UTF-8 --no-sync --username="$POSTGRES_USER" \
    --auth-local=trust --auth-host=scram-sha-256 --pwfile="$POSTGRES_PASSWORD_FILE"
  echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
  echo "CREATE DATABASE $POSTGRES_DB;" | postgres --single -D "$PGDATA" postgres
fi
exec postgres -D "$PGDATA" -c 'listen_addresses=*' -c unix_socket_directories=/var/run/postgresql
