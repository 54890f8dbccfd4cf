#!/usr/bin/env bash
# What the API's page tells to do, several at once: submit, ask for the state every two seconds, fetch.
#     curl.sh BASE JOBS LANES FOLDER
set -euo pipefail
export BASE=$1 FOLDER=$4 AUTH="Authorization: Bearer benchmark" MODEL=blackforestlabs/flux-2-klein/4b/text-to-image
mkdir -p "$FOLDER"
carry() {
    id=$(curl -s "$BASE/models/$MODEL" -H "$AUTH" -H "Content-Type: application/json" \
        -d "{\"prompt\": \"picture $(($1 % 16))\", \"width\": 64, \"height\": 64}" | grep -o '"request_id": "[^"]*' | cut -d '"' -f 4)
    until curl -s "$BASE/requests/$id/status" -H "$AUTH" | grep -q '"completed"'; do sleep 2; done
    url=$(curl -s "$BASE/requests/$id/result" -H "$AUTH" | grep -o '"image": "[^"]*' | cut -d '"' -f 4)
    curl -s -o "$FOLDER/job-$1.png" "$url"
}
export -f carry
seq 1 "$2" | xargs -P "$3" -I{} bash -c 'carry {}'
