#!/bin/sh
# The mm command: exit status, what goes to stdout and what to stderr, and that a failed command leaves no file.
# usage: test_command.sh MM
mm=$1
models=tests/golden/models
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0

expect() { # expect STATUS NAME COMMAND...
    want=$1
    name=$2
    shift 2
    "$@" >"$dir/out" 2>"$dir/err" </dev/null
    got=$?
    if [ "$got" -ne "$want" ]; then
        echo "$name: exit status $got, expected $want: $(cat "$dir/err")"
        failed=1
    fi
}
said() { # said WHERE TEXT: out or err holds the text
    grep -qF -e "$2" "$dir/$1" || { echo "$name: \"$2\" is not in std$1: $(cat "$dir/$1")"; failed=1; }
}
silent() { [ -s "$dir/$1" ] && { echo "$name: std$1 is not empty: $(cat "$dir/$1")"; failed=1; }; }

expect 2 nothing "$mm"; said err usage; silent out
expect 2 unknown "$mm" dance; said err dance
expect 0 help "$mm" --help; said out generate
expect 0 version "$mm" --version; said out "mm 0.2."
expect 2 no-model "$mm" info; said err MODEL
expect 2 option "$mm" info "$models/bert" --nope; said err --nope
expect 2 number "$mm" generate x --prompt y --top-k many; said err many
expect 1 missing "$mm" info "$dir/none.gguf"; said err "$dir/none.gguf"; silent out
expect 1 directory "$mm" info "$dir"; said err config.json
for m in "$models"/*; do
    [ -e "$m/config.json" ] || [ -e "$m/model.gguf" ] || continue
    [ -e "$m/model.gguf" ] && m=$m/model.gguf
    expect 0 "info $m" "$mm" info "$m" --json; said out '"parameters"'
done
expect 0 modalities "$mm" info "$models/whisper" --json; said out '"modalities": ["text", "audio"]'
expect 0 modalities "$mm" info "$models/qwen2_vl" --json; said out '"modalities": ["text", "image", "video"]'
expect 0 modalities "$mm" info "$models/vit" --json; said out '"modalities": ["image"]'
expect 1 no-chat "$mm" chat "$models/vit"; said err "does not generate"
expect 2 no-inputs "$mm" forward "$models/vit" --outputs "$dir/f"
expect 1 bad-inputs "$mm" forward "$models/vit" --inputs "$dir/none" --outputs "$dir/f"
[ -e "$dir/f" ] && { echo "a failed forward left a file"; failed=1; }
printf 'x' >"$dir/junk.png"
expect 1 junk "$mm" preprocess "$models/vit" --image "$dir/junk.png" --outputs "$dir/f"
[ -e "$dir/f" ] && { echo "a failed preprocess left a file"; failed=1; }
expect 2 rank "$mm" embed "$models/vit" --rank --no-normalize --image x
expect 2 no-picture "$mm" classify "$models/clip" --labels a; said err --image
expect 2 no-labels "$mm" classify "$models/clip" --image x --labels " , "; said err --labels
expect 2 text-labels "$mm" classify "$models/clip" --text x --labels a; said err --labels
expect 0 zero-shot "$mm" classify "$models/clip" --image tests/golden/images/jpeg_420.jpg --labels "cat, green tree" --json
said out '"labels": [{"label": '
said out '"green tree"'
expect 1 own-classes "$mm" classify "$models/clip" --image tests/golden/images/jpeg_420.jpg; said err labels
expect 0 pair-rank "$mm" embed "$models/clip" --image tests/golden/images/jpeg_420.jpg --text "a cat" --text "a red hat" --rank --json
[ "$(grep -c '"score"' "$dir/out")" -eq 2 ] || { echo "pair-rank: not two lines: $(cat "$dir/out")"; failed=1; }
expect 1 full-disk sh -c "'$mm' --help >/dev/full"
t=tests/golden/tokenizers
for j in "$t"/bert.json "$t"/smollm.gguf; do
    [ -e "$j" ] || continue
    printf 'Hello, wörld!\nA\rB\n\nlast' >"$dir/text"
    expect 0 "tokenize $j" "$mm" tokenize "$j" --text-file "$dir/text"
    [ "$(wc -l <"$dir/out")" -eq 4 ] || { echo "tokenize $j: $(wc -l <"$dir/out") lines"; failed=1; }
done
expect 0 slide "$mm" generate "$models/llama_words" --raw --prompt a --greedy --ids --slide --context 16 --max-tokens 60
[ "$(tr , "\n" <"$dir/out" | wc -l)" -eq 60 ] || { echo "slide: not 60 ids: $(cat "$dir/out")"; failed=1; }
printf 'root ::= "the" " end"?' >"$dir/g.gbnf"
expect 0 grammar "$mm" generate "$models/llama_words" --raw --prompt a --grammar "$dir/g.gbnf"
case "$(cat "$dir/out")" in the | "the end") ;; *) echo "grammar: $(cat "$dir/out")"; failed=1 ;; esac
printf '{"type": "null"}' >"$dir/s.json"
expect 0 schema "$mm" generate "$models/llama_words" --raw --prompt a --json-schema "$dir/s.json" --ids
expect 0 schema "$mm" generate "$models/llama_words" --raw --prompt a --json-schema "$dir/s.json"
[ "$(cat "$dir/out")" = null ] || { echo "schema: $(cat "$dir/out")"; failed=1; }
printf 'root ::= root' >"$dir/g.gbnf"
expect 1 recursion "$mm" generate "$models/llama_words" --raw --prompt a --grammar "$dir/g.gbnf"; said err "left recursion"; silent out
expect 1 no-grammar "$mm" generate "$models/llama_words" --raw --prompt a --grammar "$dir/none"; said err "$dir/none"
expect 2 both "$mm" generate "$models/llama_words" --raw --prompt a --grammar "$dir/g.gbnf" --json-schema "$dir/s.json"; said err --json-schema

picture=tests/golden/images/jpeg_420.jpg
pair=$models/llava_pair
expect 0 picture "$mm" generate "$pair" --raw --image $picture --prompt what --greedy --ids --max-tokens 6
cp "$dir/out" "$dir/ids"
expect 0 pair "$mm" generate "$pair/model.gguf" --mmproj "$pair/mmproj.gguf" --raw --image $picture --prompt what --greedy --ids --max-tokens 6
cmp -s "$dir/out" "$dir/ids" || { echo "pair: $(cat "$dir/out"), expected $(cat "$dir/ids")"; failed=1; }
expect 1 no-eyes "$mm" generate "$models/llama_words" --raw --image $picture --prompt a; said err "llama_words"; silent out
expect 1 no-picture-file "$mm" generate "$pair" --raw --image "$dir/none.jpg" --prompt a; said err none.jpg; silent out
expect 0 beams "$mm" generate "$models/llama_words" --raw --prompt a --beams 3 --length-penalty 0.5 --max-tokens 5 --ids
expect 1 beams-bounds "$mm" generate "$models/llama_words" --raw --prompt a --beams 65; said err MM_SESSION_BEAMS
sound=tests/golden/audio/pcm16.wav
expect 0 transcribe "$mm" transcribe "$models/whisper_speaks" --audio $sound --timestamps; said out ' --> '
expect 0 transcribe-json "$mm" transcribe "$models/whisper_speaks" --audio $sound --json; said out '"begin": '
expect 2 no-sound "$mm" transcribe "$models/whisper_speaks"; said err --audio
expect 1 no-ears "$mm" transcribe "$models/llama_words" --audio $sound; silent out
expect 0 sound-features "$mm" preprocess "$models/whisper_speaks" --audio $sound --outputs "$dir/features"
grep -q input_features "$dir/features" || { echo "sound-features: not in the file"; failed=1; }
expect 2 mixed "$mm" preprocess "$models/whisper_speaks" --audio $sound --image $picture --outputs "$dir/f"
printf '/image %s\n/clear\n/nothing\n/quit\n' "$dir/none.jpg" >"$dir/lines"
expect 1 chat sh -c "'$mm' chat '$pair' <'$dir/lines'"; said err none.jpg; said err /nothing
exit $failed
