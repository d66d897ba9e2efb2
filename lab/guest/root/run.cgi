#!/bin/sh
# Runs the request's body as a shell command and answers with its output: how tests write and check data. Lab only.
output=$(sh -c "$(head -c "${CONTENT_LENGTH:-0}")" 2>&1 </dev/null)
code=$?
printf 'Content-Type: text/plain\r\nX-Exit-Code: %s\r\n\r\n%s\n' "$code" "$output"
