#!/bin/sh
# From raw recordings to the bundled model: synthetic speech, pretraining, finetuning, calibration
# and report. Goes on where it was interrupted.
#   sh tools/make_model.sh DATA [OPTIONS OF intentd-train...]
# DATA holds speech_commands/, other_speech/, talk/, orders/ and noise/ (train/recipes/commands.toml).
# Needs flite, espeak-ng, wamerican and the teachers (train/recipes/pretrain.toml and commands.toml);
# WORD_TEACHER names another ONNX file of the first one's interface, TEACHER a folder with another
# Whisper in CTranslate2's format. The model is left in runs/commands; config.json,
# preprocessor_config.json, model.safetensors, calibration.json, metrics.json, history.json, README.md
# and report/ of it go to daemon/bundled/commands/.
set -eu
data=${1:?"usage: sh tools/make_model.sh DATA"}
shift
words="up down left right go zero one five eight"

speak() {  # FOLDER OPTIONS...: written beside it first, so that an interrupted one is made anew
    folder=$1
    shift
    [ -d "$folder" ] && return
    rm -rf "$folder.half"
    # shellcheck disable=SC2086
    intentd-train synthesize "$folder.half" $words "$@"
    mv "$folder.half" "$folder"
}

train() {  # RECIPE OPTIONS...
    recipe=$1
    shift
    [ -f "runs/$recipe/metrics.json" ] && return
    resume=
    [ -f "runs/$recipe/recipe.json" ] && resume=--resume
    # shellcheck disable=SC2086
    intentd-train "$recipe" --set "root=$data" "$@" --output "runs/$recipe" $resume
    # Training that was asked to stop (SIGTERM) ends in good order, with status 0.
    [ -f "runs/$recipe/metrics.json" ] || { echo "$recipe is not finished; run this again." >&2; exit 1; }
}

speak "$data/synthetic"
speak "$data/vocabulary" --seed 1 --voices 100 --sentences 2400 \
    --vocabulary /usr/share/dict/american-english
# What sounds like a command is none to be quiet about.
speak "$data/heldout" write wright rite won ate --seed 7 --cast held-out --voices 200 \
    --sentences 11000 --sentences-only --vocabulary /usr/share/dict/american-english
train pretrain ${WORD_TEACHER:+--set "distil.teacher=$WORD_TEACHER"} \
    ${WORD_TEACHER:+--set "distil.cache=runs/vectors"} "$@"
train commands ${TEACHER:+--set "teach.teacher=$TEACHER"} "$@"
