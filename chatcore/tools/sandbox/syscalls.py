"""The system calls that a program in the sandbox may make, and the kernel's filter (seccomp) that holds it to them.

Everything else fails with EPERM: sockets, new processes, exec, mounts, namespaces, tracing, keys, bpf, io_uring and all
that a later kernel brings. A call of another architecture's table ends the process.
"""

import platform
import struct
from dataclasses import dataclass
from typing import Final

# name:number on x86_64:number on aarch64; where a number is missing, that machine has no such call.
_ALLOWED: Final = """
read:0:63 write:1:64 readv:19:65 writev:20:66 pread64:17:67 pwrite64:18:68 preadv:295:69 pwritev:296:70
preadv2:327:286 pwritev2:328:287 lseek:8:62 close:3:57 close_range:436:436 dup:32:23 dup2:33: dup3:292:24 pipe:22:
pipe2:293:59 fcntl:72:25 fsync:74:82 fdatasync:75:83 select:23: pselect6:270:72 poll:7: ppoll:271:73 sendfile:40:71
copy_file_range:326:285

open:2: openat:257:56 creat:85: access:21: faccessat:269:48 faccessat2:439:439 stat:4: lstat:6: fstat:5:80
newfstatat:262:79 statx:332:291 statfs:137:43 fstatfs:138:44 readlink:89: readlinkat:267:78 getdents64:217:61
getcwd:79:17 chdir:80:49 fchdir:81:50 mkdir:83: mkdirat:258:34 rmdir:84: unlink:87: unlinkat:263:35 rename:82:
renameat:264:38 renameat2:316:276 link:86: linkat:265:37 symlink:88: symlinkat:266:36 chmod:90: fchmod:91:52
fchmodat:268:53 umask:95:166 utime:132: utimes:235: utimensat:280:88 truncate:76:45 ftruncate:77:46 fallocate:285:47
flock:73:32 getxattr:191:8 lgetxattr:192:9 fgetxattr:193:10 listxattr:194:11 llistxattr:195:12 flistxattr:196:13

mmap:9:222 munmap:11:215 mremap:25:216 mprotect:10:226 madvise:28:233 brk:12:214

futex:202:98 set_robust_list:273:99 get_robust_list:274:100 rseq:334:293 set_tid_address:218:96 sched_yield:24:124
sched_getaffinity:204:123 sched_getparam:143:121 sched_getscheduler:145:120 membarrier:324:283 getcpu:309:168
exit:60:93 exit_group:231:94

rt_sigaction:13:134 rt_sigprocmask:14:135 rt_sigreturn:15:139 rt_sigpending:127:136 rt_sigtimedwait:128:137
rt_sigsuspend:130:133 sigaltstack:131:132 restart_syscall:219:128 pause:34: kill:62:129 tkill:200:130 tgkill:234:131
alarm:37: getitimer:36:102 setitimer:38:103

nanosleep:35:101 clock_nanosleep:230:115 clock_gettime:228:113 clock_getres:229:114 gettimeofday:96:169 time:201:
times:100:153

getpid:39:172 gettid:186:178 getppid:110:173 getpgrp:111: getpgid:121:155 getsid:124:156 getuid:102:174
geteuid:107:175 getgid:104:176 getegid:108:177 getgroups:115:158 getresuid:118:148 getresgid:120:150 getrusage:98:165
getrlimit:97:163 prlimit64:302:261 uname:63:160 sysinfo:99:179 getrandom:318:278
"""
# CLONE_VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS, PARENT_SETTID, CHILD_CLEARTID, as the C library makes a thread;
# musl adds CLONE_DETACHED. Nothing else is a thread.
_THREADS: Final = (0x3D0F00, 0x7D0F00)
# TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX: what Python asks of a file or sets on it.
_IOCTLS: Final = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)

_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER, _MACHINE, _FIRST, _SECOND = 0, 4, 16, 24  # offsets in the kernel's `seccomp_data`; low halves of arguments
_ALLOW, _KILL, _EPERM, _ENOSYS = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026


@dataclass(frozen=True)
class _Machine:
    """`audit`: how the kernel names it. `clone`, `clone3`, `ioctl`: numbers of calls. `place`: in `_ALLOWED`."""

    audit: int
    clone: int
    clone3: int
    ioctl: int
    place: int


_MACHINES: Final = {
    "x86_64": _Machine(0xC000003E, 56, 435, 16, 1),
    "aarch64": _Machine(0xC00000B7, 220, 435, 29, 2),
}


def seccomp_filter(machine: str = "") -> bytes | None:
    """The filter as the kernel takes it, for this machine where none is named; None where it is not known."""
    found = _MACHINES.get(machine or platform.machine())
    if found is None:
        return None
    numbers = [entry.split(":")[found.place] for entry in _ALLOWED.split()]
    rules = [
        _rule(_LOAD, _MACHINE),
        _rule(_EQUAL, found.audit, yes=1),
        _rule(_RETURN, _KILL),
        _rule(_LOAD, _NUMBER),
        *(rule for number in numbers if number for rule in _when(int(number), [_rule(_RETURN, _ALLOW)])),
        # The C library takes ENOSYS for an older kernel, and makes its thread with `clone`, whose flags can be seen.
        *_when(found.clone3, [_rule(_RETURN, _ENOSYS)]),
        *_when(found.clone, _one_of(_FIRST, _THREADS)),
        *_when(found.ioctl, _one_of(_SECOND, _IOCTLS)),
        _rule(_RETURN, _EPERM),
    ]
    return b"".join(rules)


def _when(number: int, then: list[bytes]) -> list[bytes]:
    return [_rule(_EQUAL, number, no=len(then)), *then]


def _one_of(argument: int, values: tuple[int, ...]) -> list[bytes]:
    """Allow the call with one of these values as this argument, and else refuse it."""
    allowed = [rule for value in values for rule in _when(value, [_rule(_RETURN, _ALLOW)])]
    return [_rule(_LOAD, argument), *allowed, _rule(_RETURN, _EPERM)]


def _rule(code: int, value: int, *, yes: int = 0, no: int = 0) -> bytes:
    """One instruction. `yes`, `no`: how many to leap over where an `_EQUAL` is so, and where it is not."""
    return struct.pack("=HBBI", code, yes, no, value)
