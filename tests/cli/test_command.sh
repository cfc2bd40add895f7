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
expect 0 adapter "$mm" info "$models/gpt2" --adapter tests/golden/adapters/gpt2; said out "LoRA of 4 matrices, rank 4, alpha 8"
expect 0 adapter-json "$mm" info "$models/gpt2" --json; said out '"adapter": null'
expect 1 wrong-adapter "$mm" info "$models/llama_words" --adapter tests/golden/adapters/gpt2; said err "the model has no such module"; silent out
expect 1 no-adapter "$mm" generate "$models/llama_words" --raw --prompt a --adapter "$dir/none"; said err adapter_config.json; silent out
expect 0 weights "$mm" info "$models/bert" --weights q8_row; said out "F32 x 5, Q8_ROW x 11"
expect 0 weights-pair "$mm" info "$pair/model.gguf" --mmproj "$pair/mmproj.gguf" --weights Q8_0; said out "Q8_0 x"
expect 1 wrong-weights "$mm" info "$models/bert" --weights q4_0; said err "not to Q4_0"; silent out
expect 2 no-weights "$mm" info "$models/bert" --weights q9; said err "q9 is no type of weights"; silent out
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

# From files to answers, as transformers gives them; a line with an empty text reads as one with fewer fields.
pipelines=tests/golden/pipelines
tab=$(printf '\t')
for list in "$pipelines"/*.txt; do
    grep -v "$tab$tab" "$list" >"$dir/cases"
    while IFS=$tab read -r how media text _ ids; do
        model=${list%.txt}
        name="$how $model $media $text"
        set --
        [ "$media" = - ] || for m in $media; do set -- "$@" "--${m%%:*}" "${m#*:}"; done
        case $how in
        raw | chat)
            [ "$how" = raw ] && set -- --raw "$@"
            expect 0 "$name" "$mm" generate "$model" "$@" --prompt "$(printf %b "$text")" --greedy --ids --max-tokens 8
            [ "$(cat "$dir/out")" = "[$(echo "$ids" | sed 's/ /, /g')]" ] || { echo "$name: $(cat "$dir/out"), expected $ids"; failed=1; }
            ;;
        labels) expect 0 "$name" "$mm" classify "$model" "$@" --labels "$text" ;;
        esac
    done <"$dir/cases"
done
house=examples/images/house.png
expect 0 labels "$mm" classify "$pipelines/clip" --image $house --labels "red circles,a house,the train,how many trees"
[ "$(head -1 "$dir/out")" = "  0.3501  how many trees" ] || { echo "labels: $(cat "$dir/out")"; failed=1; }
expect 0 rank "$mm" embed "$pipelines/clip" --rank --image $house --text "red circles" --text "a house" --text "the train"
head -1 "$dir/out" | grep -q "0.566.*a house" || { echo "rank: $(cat "$dir/out")"; failed=1; }
expect 0 no-prompt "$mm" generate "$pipelines/trocr" --image $house --greedy --ids --max-tokens 8
[ "$(tr -d '[],' <"$dir/out")" = "$(head -1 "$pipelines/trocr.txt" | cut -f5)" ] || { echo "no-prompt: $(cat "$dir/out")"; failed=1; }
expect 0 answer "$mm" generate "$pipelines/llava" --image $house --prompt what --greedy --max-tokens 8
cp "$dir/out" "$dir/answer"
printf '/image %s\nwhat\n' $house >"$dir/lines"
expect 0 picture-chat sh -c "'$mm' chat '$pipelines/llava' --greedy --max-tokens 8 <'$dir/lines'"
cmp -s "$dir/out" "$dir/answer" || { echo "picture-chat: $(cat "$dir/out"), expected $(cat "$dir/answer")"; failed=1; }
expect 0 explain "$mm" explain "$pipelines/llava" --image $house --prompt what --max-tokens 8 --output "$dir/looked.png"
cmp -s "$dir/out" "$dir/answer" || { echo "explain: $(cat "$dir/out"), expected $(cat "$dir/answer")"; failed=1; }
expect 0 looked "$mm" preprocess "$models/../pipelines/clip" --image "$dir/looked.png" --outputs "$dir/f"
rm -f "$dir/looked.png" "$dir/f"
expect 0 explain-class "$mm" explain tests/golden/explanations/spotlight --image $house --output "$dir/looked.png"; said out dark
expect 1 explain-prompt "$mm" explain "$pipelines/clip" --image $house --prompt what --output "$dir/none.png"; said err --prompt; silent out
expect 1 explain-text "$mm" explain "$pipelines/t5" --image $house --prompt what --output "$dir/none.png"; said err "$pipelines/t5"
expect 2 explain-output "$mm" explain "$pipelines/clip" --image $house; said err --output
expect 2 explain-pictures "$mm" explain "$pipelines/clip" --image $house --image $house --output "$dir/none.png"; said err --image
[ -e "$dir/none.png" ] && { echo "a failed explain left a file"; failed=1; }
for kind in image audio video; do
    model=$pipelines/llava
    [ $kind = audio ] && model=$pipelines/whisper
    expect 1 "text as $kind" "$mm" generate "$model" --$kind LICENSE --prompt what; said err LICENSE; silent out
done
expect 1 places "$mm" generate "$pipelines/llava" --raw --image $house --prompt "<image> <image>"; said err "2 places"; said err "there are 1"; silent out
expect 0 small "$mm" generate "$pipelines/llava" --image tests/golden/images/jpeg_1x1.jpg --prompt what --ids --max-tokens 2
for i in 1 2 3 4 5 6; do echo '{"text": "the one in the", "image": "'$PWD/$house'", "caption": "a house"}'; done >"$dir/data.jsonl"
cat >"$dir/run.json" <<END
{"output": "run", "steps": 6, "batch_size": 2, "log_every": 1, "evaluate_every": 3, "save_every": 2, "model": {"from": "$PWD/$models/llama_words"},
 "tasks": [{"objective": "causal_lm", "data": {"train": "data.jsonl", "validation": "data.jsonl"}}]}
END
expect 2 train-nothing "$mm" train; silent out
expect 1 train-missing "$mm" train "$dir/none.json"; said err none.json; silent out
draws=yes
"$mm" train "$dir/none.json" --plot "$dir/none.png" 2>&1 | grep -q cairo && draws= # it was built without
expect 0 train "$mm" train "$dir/run.json" --resume ${draws:+--plot "$dir/loss.png"}; said out "$dir/run"; said err "no checkpoint yet"; said err "step 6 of 6"
[ -z "$draws" ] || expect 0 plotted "$mm" preprocess "$pipelines/clip" --image "$dir/loss.png" --outputs "$dir/f"
expect 1 train-again "$mm" train "$dir/run.json"; said err "$dir/run"; said err step; silent out
expect 0 train-more "$mm" train "$dir/run.json" --resume; said out "$dir/run"
expect 0 trained "$mm" generate "$dir/run" --raw --prompt "the one" --greedy --max-tokens 4
expect 0 eval "$mm" eval "$dir/run" "$dir/run.json"; said out causal_lm; said out perplexity
expect 0 eval-json "$mm" eval "$dir/run" "$dir/run.json" --json; said out '"causal_lm": {"samples": 6'
expect 1 eval-plot "$mm" eval "$dir/run" "$dir/run.json" --plot "$dir/none.png"
[ -z "$draws" ] || said err confusion
[ -e "$dir/none.png" ] && { echo "a failed plot left a file"; failed=1; }
expect 2 eval-config "$mm" eval "$dir/run"; said err CONFIG.json
sed -i 's/"steps"/"stpes"/' "$dir/run.json"
expect 1 train-key "$mm" train "$dir/run.json"; said err stpes; said err run.json; silent out
printf '\211PNG\r\n\032\n\000\000\000\015IHDR\000\000\116\040\000\000\116\040\010\002\000\000\000\154\022\321\156\000\000\000\010IDAT\170\234\003\000\000\000\000\001\110\006\211\322' >"$dir/huge.png"
expect 1 huge "$mm" generate "$pipelines/llava" --image "$dir/huge.png" --prompt what; said err "20000 x 20000"; silent out
exit $failed
