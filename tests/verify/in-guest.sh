# What `make verify-6.12` runs within the virtual machine, as root, in the project's directory.
#
# The guest's /dev is mounted noexec, which would take VM_MAYEXEC from mappings of /dev/zero; of its
# files only those in /tmp can be written. A guest has 5-level page tables unless told otherwise
# (no5lvl), which the model does not know.
uname -r
mount -o remount,exec /dev
status=0
.venv/bin/vmatrace verify traces/ || status=$?
.venv/bin/vmatrace verify --random "${PROGRAMS:-250}" --exhibit /tmp/found.yaml || status=$?
if [ -e /tmp/found.yaml ]; then cat /tmp/found.yaml; fi
for program in "sort /etc/services -o /dev/null" "perl -MPOSIX -e 1" "git --version"; do
    command -v "${program%% *}" >/dev/null || continue
    .venv/bin/vmatrace record --ksm --check -o /tmp/recorded.yaml -- $program >/dev/null || status=$?
    rm -f /tmp/recorded.yaml
done
echo "exit status: $status"
exit $status
