#!/bin/sh
# Record the logs of this folder anew: sh record.sh (needs strace, a C compiler and Linux).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
cp "$here/program.c" "$work"
cd "$work"
cc -O1 -w -static -o program program.c

log() { # NAME OPTIONS...: with pids, as -o writes it
	name=$1
	shift
	env -i strace "$@" -o "$here/$name.log" ./program >/dev/null || true
}
log f -f
log f-t -f -t
log f-tt-T -f -tt -T
log f-ttt -f -ttt
log f-r -f -r
log f-r-tt -f -r -tt
log f-unix -f --absolute-timestamps=unix
log f-ns -f --absolute-timestamps=format:unix,precision:ns --syscall-times=ns
log f-y -f -y
log f-yy -f -yy
log f-Y -f -Y
log f-pidns -f --decode-pids=comm,pidns
log f-Xraw -f -X raw
log f-Xverbose -f -X verbose
log f-eraw -f -e raw=all
log f-n -f -n
log f-i -f -i
log f-s4-v -f -s 4 -v
log f-memory -f -e trace=memory
log f-q -f -qq
log f-C -f -C
log f-inject -f -e inject=munmap:error=EINVAL:when=1
log ff -ff
log ff-ttt -ff -ttt
log plain
env -i strace -f -o "$here/f-signal.log" ./program 1 >/dev/null || true
env -i strace -f ./program 2>"$here/stderr.log" >/dev/null || true
env -i strace -f -n -i -tt -T -yy -Y ./program 2>"$here/stderr-all.log" >/dev/null || true
# Frames of shared libraries: the same program, linked dynamically.
cc -O1 -w -o program program.c
log f-k -f -k -e trace=memory,process
# Real programs, all calls: what the benchmark repeats.
env -i PATH=/usr/bin:/bin strace -f -o "$here/shell.log" sh -c '
	python3 -c "import json, email"; ls /usr/bin; sort /etc/services; git --version' >/dev/null
sed -i "s|$work|/srv|g" "$here"/*.log*
xz -9 -f "$here/shell.log"
rm -r "$work"
