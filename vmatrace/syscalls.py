"""The numbers of system calls by architecture: what tracepoints and injected calls have for names.

Only calls that matter to memory, to processes, to descriptors or to the oracle have a row, and what
logs are full of. Source: asm/unistd.h of each architecture in the headers of Linux.
"""

from __future__ import annotations

from functools import cache
from typing import Final

#: A column of the table for each key of abi.TASK_SIZES.
_COLUMNS: Final = {
    "x86_64": 0, "x86_64-la57": 0, "aarch64": 1, "riscv64": 1, "loongarch64": 1, "i686": 2,
    "armv7l": 3, "ppc64le": 4, "ppc64": 4, "s390x": 5, "mips64": 6, "sparc64": 7,
}  # fmt: skip
#: The architectures that have one.
ARCHES: Final = frozenset(_COLUMNS)
_TABLE: Final = """
mmap                           9     222       -       -      90       -    5009      71
old_mmap                       -       -      90       -       -      90       -       -
mmap2                          -       -     192     192       -       -       -       -
munmap                        11     215      91      91      91      91    5011      73
mprotect                      10     226     125     125     125     125    5010      74
pkey_mprotect                329     288     380     394     386     384    5323     362
mremap                        25     216     163     163     163     163    5024     250
madvise                       28     233     219     220     205     219    5027      75
process_madvise              440     440     440     440     440     440    5440     440
brk                           12     214      45      45      45      45    5012      17
mlock                        149     228     150     150     150     150    5146     237
mlock2                       325     284     376     390     378     374    5319     356
munlock                      150     229     151     151     151     151    5147     238
mlockall                     151     230     152     152     152     152    5148     239
munlockall                   152     231     153     153     153     153    5149     240
mseal                        462     462     462     462     462     462    5462     462
msync                         26     227     144     144     144     144    5025      65
remap_file_pages             216     234     257     253     239     267    5210     192
mbind                        237     235     274     319     259     268    5227     303
set_mempolicy_home_node      450     450     450     450     450     450    5450     450
map_shadow_stack             453     453     453     453     453     453    5453     453
shmget                        29     194     395     307     395     395    5028     395
shmat                         30     196     397     305     397     397    5029     397
shmdt                         67     197     398     306     398     398    5065     398
prctl                        157     167     172     172     171     172    5153     147
ioctl                         16      29      54      54      54      54    5015      54
fork                          57       -       2       2       2       2    5056       2
vfork                         58       -     190     190     189     190       -      66
clone                         56     220     120     120     120     120    5055     217
clone3                       435     435     435     435     435     435    5435       -
execve                        59     221      11      11      11      11    5057      59
execveat                     322     281     358     387     362     354    5316     350
exit                          60      93       1       1       1       1    5058       1
exit_group                   231      94     252     248     234     248    5205     188
wait4                         61     260     114     114     114     114    5059       7
waitid                       247      95     284     280     272     281    5237     279
open                           2       -       5       5       5       5    5002       5
openat                       257      56     295     322     286     288    5247     284
openat2                      437     437     437     437     437     437    5437     437
creat                         85       -       8       8       8       8    5083       8
memfd_create                 319     279     356     385     360     350    5314     348
memfd_secret                 447     447     447       -       -       -       -       -
userfaultfd                  323     282     374     388     364     355    5317     352
pidfd_open                   434     434     434     434     434     434    5434     434
close                          3      57       6       6       6       6    5003       6
close_range                  436     436     436     436     436     436    5436     436
dup                           32      23      41      41      41      41    5031      41
dup2                          33       -      63      63      63      63    5032      90
dup3                         292      24     330     358     316     326    5286     320
fcntl                         72      25      55      55      55      55    5070      92
read                           0      63       3       3       3       3    5000       3
write                          1      64       4       4       4       4    5001       4
fstat                          5      80     108     108     108     108    5005      62
newfstatat                   262       -       -       -     291     293    5252       -
lseek                          8      62      19      19      19      19    5008      19
pread64                       17      67     180     180     179     180    5016      67
access                        21       -      33      33      33      33    5020      33
futex                        202      98     240     240     221     238    5194     142
rt_sigaction                  13     134     174     174     173     174    5013     102
rt_sigprocmask                14     135     175     175     174     175    5014     103
ftruncate                     77      46      93      93      93      93    5075     130
setrlimit                    160     164      75      75      75      75    5155     145
prlimit64                    302     261     340     369     325     334    5297     331
io_setup                     206       0     245     243     227     243    5200     268
io_destroy                   207       1     246     244     228     244    5201     269
arch_prctl                   158       -     384       -       -       -       -       -
personality                  135      92     136     136     136     136    5132     191
setsid                       112     157      66      66      66      66    5110     175
ptrace                       101     117      26      26      26      26    5099      26
unlinkat                     263      35     301     328     292     294    5253     290
seccomp                      317     277     354     383     358     348    5312     346
kcmp                         312     272     349     378     354     343    5306     341
pidfd_getfd                  438     438     438     438     438     438    5438     438
"""


@cache
def numbers(arch: str) -> dict[str, int]:
    """The number of each call that *arch*, a key of abi.TASK_SIZES, has."""
    column = _COLUMNS[arch] + 1
    rows = [line.split() for line in _TABLE.split("\n") if line]
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}


@cache
def names(arch: str) -> dict[int, str]:
    """The call that has each number."""
    return {number: name for name, number in numbers(arch).items()}
