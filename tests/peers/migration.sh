#!/usr/bin/env bash
# Moves generated data of the older systems from a real MariaDB server to the local platform: orders of the monolith, and some of
# the split services, dirty in every way that is known. The copy is killed at random points. What arrived is compared with SQL's
# own recount, by code that shares nothing with the migration. Needs Debian's package mariadb-server (installed where that is
# possible), openssl, and Python 3 with venv.
#
#   MIGRATION_ORDERS=100000 MIGRATION_KILLS=20 bash tests/peers/migration.sh     as large as the older systems; most of an hour
set -euo pipefail
cd "$(dirname "$0")/../.."
orders=${MIGRATION_ORDERS:-2000}
seed=${MIGRATION_SEED:-1}
kills=${MIGRATION_KILLS:-6}
secret="secret-key-of-the-test-0123456789-abcdef"
here=tests/peers/migration
work=$(mktemp -d)
chmod 755 "$work"
started=()

finish() {
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${started[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap finish EXIT

fail() { echo "migration: $*" >&2; exit 1; }
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
until_it_works() {
  for _ in $(seq 300); do if "$@" >/dev/null 2>&1; then return; fi; sleep 0.2; done
  fail "this never worked: $*"
}

if ! command -v mariadbd >/dev/null; then
  [ "$(id -u)" = 0 ] || fail "mariadbd is missing: install the package mariadb-server"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends mariadb-server
fi
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install cryptography
python() { "$work/venv/bin/python" "$@"; }

# MIGRATION_BUILT=1: somebody has built everything just now.
[ -n "${MIGRATION_BUILT:-}" ] || cargo build -q --workspace --bins
target=$(python3 -c 'import json, subprocess
print(json.loads(subprocess.check_output(["cargo", "metadata", "--format-version", "1", "--no-deps"]))["target_directory"])')
migrate=$target/debug/migrate

# ---- a MariaDB server of its own, with TLS ----

certificate() { # name, subject alternative names
  openssl req -newkey rsa:2048 -nodes -subj "/CN=$1" -keyout "$work/$1.key" -out "$work/$1.csr" 2>/dev/null
  openssl x509 -req -in "$work/$1.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -CAcreateserial -days 2 -out "$work/$1.pem" \
    -extfile <(echo "subjectAltName=$2") 2>/dev/null
}
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=the test's authority" -keyout "$work/ca.key" -out "$work/ca.pem" \
  -addext basicConstraints=critical,CA:TRUE 2>/dev/null
certificate server "DNS:localhost,IP:127.0.0.1"
mkdir "$work/db"
as=()
if [ "$(id -u)" = 0 ]; then
  as=(--user=mysql)
  chown mysql "$work/db" "$work"/server.* "$work/ca.pem"
fi
mariadb-install-db --no-defaults "${as[@]}" --datadir="$work/db/data" --skip-test-db --auth-root-authentication-method=normal >/dev/null
port=$(free_port)
mariadbd --no-defaults "${as[@]}" --datadir="$work/db/data" --socket="$work/db/socket" --port="$port" --bind-address=127.0.0.1 \
  --pid-file="$work/db/pid" --ssl-cert="$work/server.pem" --ssl-key="$work/server.key" --ssl-ca="$work/ca.pem" \
  --require-secure-transport=ON --skip-log-bin --innodb-flush-log-at-trx-commit=0 --innodb-buffer-pool-size=256M \
  --max-allowed-packet=64M >"$work/db/log" 2>&1 &
started+=($!)
sql() { mariadb --no-defaults -S "$work/db/socket" -u root "$@"; }
until_it_works sql -e "SELECT 1"
sql -e "CREATE USER reader@'%' IDENTIFIED BY 'reader-pass'; GRANT SELECT ON *.* TO reader@'%'"
# The newest orders wait for their payment; they must still do so when the last run judges them.
now=$(($(date +%s) + 4 * 3600))
python "$here/legacy.py" monolith "$orders" "$now" "$secret" | sql
python "$here/legacy.py" split $((orders / 10)) "$now" "$secret" | sql
echo reader-pass >"$work/password"
echo "$secret" >"$work/key"

platform() { # name: prints the address of a new platform
  local port
  port=$(free_port)
  "$target/debug/cfmp" --port "$port" --data "$work/$1" --migration --no-demo --built "$target/debug" >"$work/$1.log" 2>&1 &
  started+=($!)
  until_it_works curl -fs "http://127.0.0.1:$port/_local/dead-letters"
  address=http://127.0.0.1:$port
}
from() { # system, state, address
  local database=/cfmp
  [ "$1" = monolith ] || database=
  source=(--from "mysql://reader@127.0.0.1:$port$database" --source "$1" --password-file "$work/password" --secret-key-file "$work/key"
    --tls-ca "$work/ca.pem" --state "$2")
  there=(--to local --endpoint "$3")
}
decided=(--rule paid-without-payment=repair --rule pending-but-paid=repair)

# ---- bad input: a clear error, and nothing written ----

platform monolith
from monolith "$work/state" "$address"
refused() { # what the error has to say, then the command
  local said=$1
  shift
  if "$@" >"$work/out" 2>"$work/error"; then fail "should have been refused: $*"; fi
  grep -q "$said" "$work/error" || { cat "$work/error" >&2; fail "the error should say: $said"; }
  if grep -q -e "$secret" -e reader-pass "$work/error" "$work/out"; then fail "a secret is shown"; fi
}
with() { # replaces values of options of the source
  local changed=("${source[@]}")
  while [ $# -gt 0 ]; do
    for at in "${!changed[@]}"; do if [ "${changed[$at]}" = "$1" ]; then changed[at + 1]=$2; fi; done
    shift 2
  done
  printf '%s\n' "${changed[@]}"
}
mapfile -t unreachable < <(with --from "mysql://reader@127.0.0.1:1/cfmp")
refused "can not be reached" "$migrate" plan "${unreachable[@]}"
echo wrong >"$work/wrong"
mapfile -t badly < <(with --password-file "$work/wrong")
refused "refuses the user reader" "$migrate" plan "${badly[@]}"
mapfile -t untrusted < <(with --tls-ca "$work/server.pem")
refused "can not be reached" "$migrate" plan "${untrusted[@]}"
mapfile -t empty < <(with --from "mysql://reader@127.0.0.1:$port/mysql")
refused "the table mysql.order is missing" "$migrate" plan "${empty[@]}"
echo another-key >"$work/other"
mapfile -t locked < <(with --secret-key-file "$work/other" --state "$work/locked")
refused "opens none of" "$migrate" copy "${locked[@]}" "${there[@]}" "${decided[@]}"
sql -e "ALTER TABLE cfmp.payment RENAME COLUMN amount TO sum"
refused "payment.amount is missing" "$migrate" plan "${source[@]}"
sql -e "ALTER TABLE cfmp.payment RENAME COLUMN sum TO amount"
sql -e "RENAME TABLE cfmp.notification TO cfmp.elsewhere"
refused "notification is missing" "$migrate" plan "${source[@]}"
sql -e "RENAME TABLE cfmp.elsewhere TO cfmp.notification"
"$migrate" plan "${source[@]}" >"$work/plan"
refused "decide first, nothing was written" "$migrate" copy "${source[@]}" "${there[@]}"
python "$here/recount.py" nothing "$address" || fail "something was written"
# A full disk: no file may grow beyond this.
full() { (trap '' XFSZ; ulimit -f 6000; exec "$@"); }
refused "is the disk full\|can not be written" full "$migrate" copy "${source[@]}" "${there[@]}" "${decided[@]}"

# ---- the copy, killed again and again, ahead of the switch and after it ----

RANDOM=$seed
killed=0
# All rounds together are about as long as a whole copy, so that every part of it is struck.
longest=$((orders / 1500 + 4))
for round in $(seq "$kills"); do
  ahead=()
  [ "$round" -gt $((kills / 2)) ] || ahead=(--ahead)
  "$migrate" copy "${source[@]}" "${there[@]}" "${decided[@]}" "${ahead[@]}" >/dev/null 2>&1 &
  pid=$!
  sleep "$((RANDOM % longest)).$((RANDOM % 10))"
  if kill -9 "$pid" 2>/dev/null; then killed=$((killed + 1)); fi
  wait "$pid" 2>/dev/null || true
done
echo "killed $killed times"
"$migrate" copy "${source[@]}" "${there[@]}" "${decided[@]}"
"$migrate" verify "${source[@]}" "${there[@]}" "${decided[@]}" --samples 200
python "$here/recount.py" monolith "$address" "$work/db/socket" "$now"
again=$("$migrate" copy "${source[@]}" "${there[@]}" "${decided[@]}" 2>/dev/null)
grep -q " 0 of them new or changed" <<<"$again" || fail "the second copy found something: $again"

# ---- what changes in the source is taken; what was tampered with here is seen ----

sql cfmp -e "UPDATE product SET title = 'another title' WHERE product_id = 7; UPDATE \`user\` SET status = 1 WHERE user_id = 8"
refused "" "$migrate" verify "${source[@]}" "${there[@]}" "${decided[@]}" --samples 0
"$migrate" copy "${source[@]}" "${there[@]}" "${decided[@]}" 2>/dev/null
"$migrate" verify "${source[@]}" "${there[@]}" "${decided[@]}" --samples 50 >/dev/null
python "$here/recount.py" tamper "$address"
refused "" "$migrate" verify "${source[@]}" "${there[@]}" "${decided[@]}" --samples 0
python "$here/recount.py" mend "$address"
"$migrate" verify "${source[@]}" "${there[@]}" "${decided[@]}" --samples 0 >/dev/null
"$migrate" report --state "$work/state" >/dev/null
cp "$work/state/report.html" "$target/migration-report.html"

# ---- life goes on ----

python "$here/life.py" "$address" "$work/db/socket" "$orders"

# ---- the split services ----

platform split
from split "$work/state-split" "$address"
"$migrate" copy "${source[@]}" "${there[@]}" "${decided[@]}"
"$migrate" verify "${source[@]}" "${there[@]}" "${decided[@]}" --samples 200
python "$here/recount.py" split "$address" "$work/db/socket" "$now"
echo "migration: 100 percent of $orders orders and of $((orders / 10)) of the split services are there, or explained"
