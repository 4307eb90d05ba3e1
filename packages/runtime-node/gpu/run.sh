#!/usr/bin/env bash
# Checks and measures the cuda backend on a machine with a GPU and nothing else: no network, no Node, no npm.
#   run.sh [PART …]     parts, by importance: info conformance greedy endurance ladder speed cold sanitize; default all
# MODEL=file.duo is measured besides. Records go to $OUT (default: out beside this script). Ends within about 200 s.
[ -z "$OUT" ] || { mkdir -p "$OUT" && OUT=$(cd "$OUT" && pwd) || exit 1; }
[ -z "$MODEL" ] || MODEL=$(cd "$(dirname "$MODEL")" && pwd)/$(basename "$MODEL")
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1
export OUT=${OUT:-$PWD/out}
mkdir -p "$OUT"
[ -x ./node ] || { xz -dkc node.xz >node && chmod +x node; } || python3 -c "
import lzma,shutil
shutil.copyfileobj(lzma.open('node.xz'),open('node','wb'))" && chmod +x node
begun=$SECONDS
# All kernels load at once, so that none loads while something is measured.
export CUDA_MODULE_LOADING=EAGER
LIMIT=${LIMIT:-200}
parts=${*:-info conformance greedy endurance ladder speed cold sanitize}
status=0
# run SECONDS PART ARGUMENT …
run() {
  local limit=$1 left=$((LIMIT - (SECONDS - begun)))
  shift
  [ "$left" -gt 3 ] || { echo "--- $*: no time left"; return; }
  [ "$limit" -le "$left" ] || limit=$left
  echo "--- $* (at most $limit s)"
  local log="$OUT/log-$1-${2//\//_}${LABEL:+-$LABEL}.txt"
  PART_SECONDS=$limit timeout -k 2 "$limit" ./node check.mjs "$@" >"$log" 2>&1
  local rc=$?
  # The whole is in the log; what is printed must stay short.
  tail -n 40 "$log" | cut -c1-400 | tail -c 3500
  [ "$rc" = 0 ] || { echo "--- $*: exit $rc"; status=1; }
  return "$rc"
}
has() { [[ " $parts " == *" $1 "* ]]; }

nvidia-smi --query-gpu=name,driver_version,memory.total,memory.used,clocks.sm,clocks.max.sm --format=csv,noheader 2>&1 | head -3
run 25 info || {
  # The driver took neither machine code nor PTX: this machine's own compiler may know what is wrong.
  if command -v nvcc >/dev/null; then
    echo '--- compiling the kernels here'
    mkdir -p kernels/build && timeout 90 nvcc -std=c++17 -arch=sm_90 -cubin -o kernels/build/sm_90.cubin kernels/kernels.cu 2>&1 | tail -20
    gunzip -c kernels/generated/kernels_90.ptx.gz | head -n 1 >kernels/build/sources
    run 25 info
  fi
}
has conformance && run 60 conformance f32
has conformance && run 15 many
has greedy && run 25 greedy
has endurance && run 30 endurance
has ladder && run 40 ladder
if has speed; then
  run 15 speed smollm2
  run 25 speed 8B
  [ -z "$MODEL" ] || run 20 speed "$MODEL"
  LABEL=no-overlap DUOBIT_CUDA_OVERLAP=0 ONE_ROW=1 run 10 ladder
  LABEL=no-overlap DUOBIT_CUDA_OVERLAP=0 run 12 speed smollm2
  LABEL=no-fusing DUOBIT_CUDA_FUSE=0 run 12 speed smollm2
  LABEL=fuse-less DUOBIT_CUDA_FUSE=49152 run 20 speed 8B
  run 15 speed 1B
  run 15 speed 3B
fi
# As it is where nobody has set anything.
unset CUDA_MODULE_LOADING
has cold && run 40 cold 8B
has conformance && for kv in f16 int8 int4; do run 25 conformance $kv; done
# What is published is PTX, which the driver compiles by itself.
if [ -d kernels/build ]; then
  mv kernels/build kernels/aside
  has conformance && LABEL=ptx run 40 conformance f32
  has speed && LABEL=ptx run 12 speed smollm2
  mv kernels/aside kernels/build
fi
PATH=$PATH:/usr/local/cuda/bin:$(ls -d /usr/local/cuda*/bin /opt/nvidia/*/ /usr/local/cuda*/compute-sanitizer 2>/dev/null | tr '\n' ':')
has sanitize && { command -v compute-sanitizer || echo '--- no compute-sanitizer'; }
if has sanitize && command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck; do
    left=$((LIMIT - (SECONDS - begun)))
    [ "$left" -gt 10 ] || { echo "--- compute-sanitizer $tool: no time left"; continue; }
    [ "$left" -gt 45 ] && left=45
    echo "--- compute-sanitizer $tool (at most $left s)"
    PART_SECONDS=$left timeout -k 2 "$left" compute-sanitizer --tool $tool --error-exitcode 1 --print-limit 5 ./node check.mjs short 2>&1 |
      tee "$OUT/log-$tool.txt" | tail -15
    rc=${PIPESTATUS[0]}
    [ "$rc" = 0 ] || { echo "--- compute-sanitizer $tool: exit $rc"; status=1; }
  done
fi
timeout 10 ./node check.mjs table 2>&1 | tee "$OUT/table.txt"
exit $status
