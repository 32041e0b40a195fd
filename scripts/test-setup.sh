#!/usr/bin/env bash
# Installs what the tests need besides Rust: other implementations that read back what `dil` writes, and database servers.
# Idempotent. What is missing and cannot be installed is an error: no test is skipped for the lack of it.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$(scripts/venv.sh venv tests/requirements.txt)
"$folder/bin/python" - <<'PYTHON'
import backports.zstd, cramjam, duckdb, fastavro, pyarrow.dataset, pyarrow.parquet
print(f"test readers: pyarrow {pyarrow.__version__}, duckdb {duckdb.__version__}, fastavro {fastavro.__version__}")
PYTHON

# Programs only: the tests start servers of their own, on free ports, in folders of their own.
missing=()
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing+=(postgresql)
[ -x /usr/sbin/mariadbd ] && [ -e /usr/share/mysql/mysql_system_tables.sql ] || missing+=(mariadb-server-core)
if [ ${#missing[@]} -gt 0 ]; then
    sudo=()
    [ "$(id -u)" = 0 ] || sudo=(sudo -n)
    install() { "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"; }
    if ! command -v apt-get >/dev/null || [ ${#sudo[@]} -gt 0 ] && ! command -v sudo >/dev/null; then
        echo "error: install ${missing[*]} (or what your system calls them), then run this again" >&2
        exit 1
    fi
    "${sudo[@]}" apt-get update -q
    if [[ " ${missing[*]} " == *" postgresql "* ]]; then
        # Its package would start a server for the whole machine.
        install postgresql-common
        "${sudo[@]}" sed -i 's/^#\?create_main_cluster *=.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
    fi
    install "${missing[@]}"
fi
echo "test servers: $(ls -d /usr/lib/postgresql/*/bin/postgres | tail -1), /usr/sbin/mariadbd"
