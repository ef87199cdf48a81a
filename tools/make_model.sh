#!/bin/sh
# From raw recordings to the bundled model: synthetic speech, finetuning, calibration, verifier and
# report.
# Goes on where it was interrupted.
#   sh tools/make_model.sh DATA [OPTIONS OF intentd-train...]
# DATA holds speech_commands/, other_speech/, talk/, orders/ and noise/ (docs/data.md). Needs flite,
# espeak-ng and the teacher (train/recipes/commands.toml); WORD_TEACHER names another ONNX file of
# its interface. The model is left in runs/commands; config.json, preprocessor_config.json,
# model.safetensors, calibration.json, metrics.json, history.json, README.md, report/ and verifier/
# of it go to daemon/bundled/commands/. VERIFIER_DRAWS: windows that the verifier learns from.
set -eu
data=${1:?"usage: sh tools/make_model.sh DATA"}
shift
words="up down left right go zero one five eight"

if [ ! -d "$data/synthetic" ]; then  # written beside it first, so that no half of it is taken
    rm -rf "$data/synthetic.half"
    # shellcheck disable=SC2086
    intentd-train synthesize "$data/synthetic.half" $words
    mv "$data/synthetic.half" "$data/synthetic"
fi

run=runs/commands
verifier=$run/verifier/verifier.json
if [ ! -f "$run/metrics.json" ]; then
    resume=
    [ -f "$run/recipe.json" ] && resume=--resume
    # shellcheck disable=SC2086
    intentd-train commands --set "root=$data" \
        ${WORD_TEACHER:+--set "teach.teacher=$WORD_TEACHER" --set teach.cache=runs/vectors} "$@" \
        --output "$run" $resume
    # Training that was asked to stop (SIGTERM) ends in good order, with status 0.
    [ -f "$run/metrics.json" ] || { echo "commands is not finished; run this again." >&2; exit 1; }
fi
# The network that ships, whichever the teacher was: nothing is copied beside the layer.
[ -f "$verifier" ] || intentd-train verifier "$run" commands --set "root=$data" "$@" \
    ${VERIFIER_DRAWS:+--draws "$VERIFIER_DRAWS"}
[ "$run/metrics.json" -nt "$verifier" ] ||
    intentd-train report "$run" commands --set "root=$data" "$@"
