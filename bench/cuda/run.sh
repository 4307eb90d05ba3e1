#!/usr/bin/env bash
# Measures llama.cpp's CUDA build and the cuda backend in turns, on a machine with a GPU, CUDA 13's libraries and .gpu beside this folder.
#   run.sh [SHAPE …]    default smollm2 8B. Records go to $OUT (default: out beside this script); about 90 s.
[ -z "$OUT" ] || { mkdir -p "$OUT" && OUT=$(cd "$OUT" && pwd) || exit 1; }
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1
export OUT=${OUT:-$PWD/out}
GPU_FOLDER=${GPU_FOLDER:-$PWD/../.gpu}
mkdir -p "$OUT" llama
rm -f "$OUT"/llama-*.json
node=$GPU_FOLDER/node
[ -x "$node" ] || { xz -dkc "$node.xz" >"$node" && chmod +x "$node"; } || python3 -c "
import lzma,shutil
shutil.copyfileobj(lzma.open('$node.xz'),open('$node','wb'))" && chmod +x "$node"
[ -e llama/libggml-cuda.so ] || tar -C llama -xJf llama.tar.xz || python3 -m tarfile -e llama.tar.xz llama || exit 1
# CUDA's own libraries are this machine's, wherever they are.
for library in libcudart.so.13 libcublas.so.13; do
  ldconfig -p | grep -q "$library" && continue
  found=$(find / -name "$library" -not -path '/proc/*' 2>/dev/null | head -n 1)
  [ -n "$found" ] || { echo "--- no $library on this machine"; continue; }
  LD_LIBRARY_PATH=$(dirname "$found")${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
done
export LD_LIBRARY_PATH CUDA_MODULE_LOADING=LAZY
# Where there is room for 5 GB that are read at once.
FILES=${FILES:-$(df --output=avail /dev/shm 2>/dev/null | tail -n 1 | awk '{ print ($1 > 6e6) ? "/dev/shm" : "/tmp" }')}
status=0
for shape in ${*:-smollm2 8B}; do
  file=$FILES/duobit-$shape-q4_0.gguf
  "$node" llama.mjs make "$shape" "$file" || { status=1; continue; }
  for turn in 1 2; do
    echo "--- $shape, turn $turn"
    PART_SECONDS=20 timeout 40 "$node" "$GPU_FOLDER/check.mjs" speed "$shape" >"$OUT/log-ours-$shape-$turn.txt" 2>&1 &&
      timeout 60 "$node" llama.mjs measure "$shape" "$file" "$GPU_FOLDER" 2>"$OUT/log-llama-$shape-$turn.txt" ||
      { status=1; grep -hiE 'cuda|fail|error' "$OUT/log-ours-$shape-$turn.txt" "$OUT/log-llama-$shape-$turn.txt" | head -n 12 | cut -c1-300; }
  done
  rm -f "$file"
done
"$node" llama.mjs table 2>&1 | tee "$OUT/table-llama.txt"
exit $status
