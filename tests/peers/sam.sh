#!/usr/bin/env bash
# The tools that deploy: SAM CLI and cfn-lint read template.yaml, cargo-lambda builds one function of every service for
# this machine's processor. Without them, a template that only our own platform understands would go unnoticed, and so
# would a build that works with cargo but not with `sam build`.
set -euo pipefail
cd "$(dirname "$0")/../.."

# An architecture's name as SAM says it.
case "$(uname -m)" in
  x86_64) architecture=x86_64 ;;
  aarch64 | arm64) architecture=arm64 ;;
  *) echo "no function can be built for $(uname -m)" >&2; exit 1 ;;
esac
functions=(
  CreateOrderFunction
  CreatePaymentFunction
  CreateNotificationFunction
  CreateProductFunction
  RegisterFunction
  SandboxProviderFunction
  FoldTrailingSlashFunction
)
# Lambda starts a function faster the less it has to load. One with the DynamoDB client has about 5 MB.
zip_limit=$((6 * 1024 * 1024))

workplace=${CARGO_TARGET_DIR:-$PWD/target}/peers
if [ ! -x "$workplace/venv/bin/sam" ]; then
  python3 -m venv "$workplace/venv"
  "$workplace/venv/bin/pip" install --quiet --disable-pip-version-check \
    aws-sam-cli==1.170.0 cfn-lint==1.58.0 cargo-lambda==1.9.2 ziglang==0.17.1
fi
export PATH="$workplace/venv/bin:$PATH" SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=us-east-1
# Beside cargo's own folder: cargo-lambda sets flags of its own, which would make cargo build everything anew.
export CARGO_TARGET_DIR="$workplace/target"

cfn-lint template.yaml
for environment in staging production; do
  sam validate --lint --config-env "$environment"
done

for function in "${functions[@]}"; do
  build="$workplace/build/$function"
  sam build "$function" --build-dir "$build" --cache-dir "$workplace/cache" \
    --parameter-overrides "Architecture=$architecture Sandbox=on"
  python3 - "$build/$function/bootstrap" "$zip_limit" <<'PYTHON'
import os, sys, tempfile, zipfile

binary, limit = sys.argv[1], int(sys.argv[2])
with tempfile.TemporaryFile() as file:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(binary, "bootstrap")
    size = file.tell()
print(f"{os.path.basename(os.path.dirname(binary))}: {size / 1e6:.1f} MB zipped")
if size > limit:
    sys.exit(f"more than {limit / 1e6:.1f} MB")
PYTHON
done
echo "sam: $(( ${#functions[@]} )) functions built, the template is valid"
