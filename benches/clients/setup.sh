#!/bin/sh
# Makes an environment for each peer below DIR: their pins conflict with each other and with ours.
#   sh benches/clients/setup.sh DIR [PYTHON]        about 5 minutes and 2 GB
# A peer that cannot be installed is left out; run.py says so.
set -u
[ $# -ge 1 ] || { echo "usage: sh benches/clients/setup.sh DIR [PYTHON]" >&2; exit 2; }
folder=$1
python=${2:-python3}
failed=0

peer() {
  name=$1
  shift
  [ -e "$folder/$name/.ready" ] && { echo "$name: there already"; return; }
  echo "$name: installing $* ..."
  if "$python" -m venv --clear "$folder/$name" &&
     "$folder/$name/bin/python" -m pip --disable-pip-version-check install -qq --no-compile "$@" \
       >"$folder/$name/install.log" 2>&1; then
    touch "$folder/$name/.ready"
  else
    echo "$name: NOT installed, see $folder/$name/install.log" >&2
    failed=1
  fi
}

mkdir -p "$folder" || exit 2
peer datatrove "datatrove[io]==0.10.1" aiofiles httpx aiosqlite xxhash
peer curator "bespokelabs-curator==0.1.31"
peer distilabel "distilabel[openai]==1.5.3" requests
exit $failed
