/*
 * The program that a booted kernel runs as init: it drives traced processes for a host that decides.
 *
 * Freestanding (no C library), x86-64 only. The host sends requests, each is answered in order; what
 * they mean together, only the host knows. A request is a length in bytes (u32), then 64-bit words,
 * then bytes; an answer likewise. All numbers are little-endian.
 *
 *   RUN   pid how pc number flags count argument...   set registers, let it run to its next stop
 *   ADOPT pid                                         the registers of the current stop start all runs
 *   SPAWN image                                       a new process that is stopped in the image's exec
 *   KILL  pid                                         end it and reap it
 *   SMAPS pid                                         headers and VmFlags lines of /proc/PID/smaps
 *   POKE  pid address, bytes                          write to its memory
 *   CALL  number argument*6 wanted, bytes             a system call of this program itself
 *
 * Requests and answers travel through memory shared with the host (ivshmem, found in sysfs), with
 * bytes on the second serial port as a bell in both directions; without it, on the serial port.
 */

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long u64;
typedef long i64;

enum { RUN = 1, ADOPT, SPAWN, KILL, SMAPS, POKE, CALL };
/* What became of a process: stopped by a signal; ended with a wait status; errno of the request. */
enum { STOPPED = 0, ENDED, FAILED };
enum { WITH_SMAPS = 1 };

enum {
	NR_read = 0, NR_write = 1, NR_open = 2, NR_close = 3, NR_lseek = 8, NR_mmap = 9, NR_munmap = 11,
	NR_ioctl = 16, NR_pwrite64 = 18, NR_nanosleep = 35, NR_getpid = 39, NR_fork = 57, NR_execve = 59,
	NR_exit = 60, NR_wait4 = 61, NR_kill = 62, NR_mkdir = 83, NR_ptrace = 101, NR_mknod = 133,
	NR_mount = 165, NR_reboot = 169, NR_ioperm = 173, NR_getdents64 = 217, NR_memfd_create = 319,
};

static i64 syscall6(u64 n, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
{
	i64 result;
	register u64 r10 __asm__("r10") = d;
	register u64 r8 __asm__("r8") = e;
	register u64 r9 __asm__("r9") = f;
	__asm__ volatile("syscall" : "=a"(result)
		: "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
		: "rcx", "r11", "memory");
	return result;
}
#define SYS4(n, a, b, c, d) syscall6(n, (u64)(a), (u64)(b), (u64)(c), (u64)(d), 0, 0)
#define SYS3(n, a, b, c) SYS4(n, a, b, c, 0)
#define SYS2(n, a, b) SYS4(n, a, b, 0, 0)

/* The compiler may call these two. */
void *memcpy(void *to, const void *from, u64 count)
{
	void *start = to;
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
	return start;
}

void *memset(void *to, int value, u64 count)
{
	void *start = to;
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(value) : "memory");
	return start;
}

static u64 length(const char *text)
{
	u64 n = 0;
	while (text[n])
		n++;
	return n;
}

static char *append(char *to, const char *text)
{
	u64 n = length(text);
	memcpy(to, text, n + 1);
	return to + n;
}

static char *append_number(char *to, u64 number)
{
	char digits[24];
	int n = 0;
	do {
		digits[n++] = '0' + number % 10;
	} while (number /= 10);
	while (n)
		*to++ = digits[--n];
	*to = 0;
	return to;
}

static void die(const char *why)
{
	SYS3(NR_write, 2, "vmatrace: ", 10);
	SYS3(NR_write, 2, why, length(why));
	SYS3(NR_write, 2, "\n", 1);
	SYS4(NR_reboot, 0xfee1dead, 672274793, 0x1234567, 0);
	for (;;)
		SYS3(NR_exit, 1, 0, 0);
}

/* Memory that grows; its content survives. */
struct buffer {
	u8 *at;
	u64 used, size;
};

static void reserve(struct buffer *b, u64 more)
{
	if (b->used + more <= b->size)
		return;
	u64 size = b->size ? b->size : 1 << 16;
	while (size < b->used + more)
		size *= 2;
	i64 at = syscall6(NR_mmap, 0, size, 3, 0x22, -1, 0);
	if (at < 0 && at > -4096)
		die("out of memory");
	memcpy((void *)at, b->at, b->used);
	if (b->size)
		SYS2(NR_munmap, b->at, b->size);
	b->at = (u8 *)at;
	b->size = size;
}

static void put(struct buffer *b, const void *from, u64 count)
{
	reserve(b, count);
	memcpy(b->at + b->used, from, count);
	b->used += count;
}

static void put_word(struct buffer *b, u64 word)
{
	put(b, &word, 8);
}

/* --- the way to the host ----------------------------------------------------------------------- */

/* Two rings. Each index counts all bytes ever; only one side writes it. On lines of their own. */
struct shared {
	volatile u32 request_head, pad1[15], request_tail, pad2[15];
	volatile u32 answer_head, pad3[15], answer_tail, pad4[15];
};
enum { REQUESTS = 0x1000, ANSWERS = 0x40000, REQUEST_BYTES = 1 << 17, ANSWER_BYTES = 1 << 19 };
enum { UART = 0x2f8, SPIN = 200 };

static int tty;
static struct shared *shared;
static int ports;

static void bell(void)
{
	if (ports)
		__asm__ volatile("outb %0, %1" : : "a"((u8)'!'), "Nd"((unsigned short)UART));
	else
		SYS3(NR_write, tty, "!", 1);
}

static void receive(void *to, u64 count)
{
	u8 *at = to;
	char rung[64];
	int spun = 0;
	while (count) {
		if (!shared) {
			i64 n = SYS3(NR_read, tty, at, count);
			if (n > 0)
				at += n, count -= n;
			continue;
		}
		u32 tail = shared->request_tail, ready = shared->request_head - tail;
		if (!ready) {
			if (spun++ < SPIN)
				__asm__ volatile("pause");
			else
				SYS3(NR_read, tty, rung, sizeof(rung));
			continue;
		}
		u32 from = tail % REQUEST_BYTES, n = REQUEST_BYTES - from;
		n = n < ready ? n : ready;
		n = n < count ? n : count;
		memcpy(at, (u8 *)shared + REQUESTS + from, n);
		__asm__ volatile("" : : : "memory");
		shared->request_tail = tail + n;
		at += n, count -= n;
	}
}

static void deliver(const void *from, u64 count)
{
	const u8 *at = from;
	while (count) {
		if (!shared) {
			i64 n = SYS3(NR_write, tty, at, count);
			if (n > 0)
				at += n, count -= n;
			continue;
		}
		u32 head = shared->answer_head, room = ANSWER_BYTES - (head - shared->answer_tail);
		if (!room) {
			u64 pause[2] = {0, 200000};
			bell();
			SYS2(NR_nanosleep, pause, 0);
			continue;
		}
		u32 to = head % ANSWER_BYTES, n = ANSWER_BYTES - to;
		n = n < room ? n : room;
		n = n < count ? n : count;
		memcpy((u8 *)shared + ANSWERS + to, at, n);
		__asm__ volatile("" : : : "memory");
		shared->answer_head = head + n;
		at += n, count -= n;
	}
}

static int read_number(const char *directory, const char *device, const char *file)
{
	char path[256], text[32];
	append(append(append(append(path, directory), device), "/"), file);
	int fd = SYS2(NR_open, path, 0);
	if (fd < 0)
		return -1;
	i64 n = SYS3(NR_read, fd, text, sizeof(text) - 1);
	SYS2(NR_close, fd, 0);
	int value = 0;
	for (i64 i = 2; i < n && text[i] != '\n'; i++)
		value = value * 16 + (text[i] <= '9' ? text[i] - '0' : text[i] - 'a' + 10);
	return value;
}

/* The memory of the device ivshmem, if there is one; sysfs maps it without a driver. */
static struct shared *find_shared(void)
{
	static const char directory[] = "/sys/bus/pci/devices/";
	static char entries[8192];
	int list = SYS2(NR_open, directory, 0x10000);
	i64 n;
	while (list >= 0 && (n = SYS3(NR_getdents64, list, entries, sizeof(entries))) > 0) {
		for (i64 at = 0; at < n; at += *(unsigned short *)(entries + at + 16)) {
			const char *name = entries + at + 19;
			if (read_number(directory, name, "vendor") != 0x1af4 ||
			    read_number(directory, name, "device") != 0x1110)
				continue;
			char path[256];
			append(append(append(path, directory), name), "/enable");
			int fd = SYS2(NR_open, path, 1);
			SYS3(NR_write, fd, "1", 1);
			SYS2(NR_close, fd, 0);
			append(append(append(path, directory), name), "/resource2");
			fd = SYS2(NR_open, path, 2);
			i64 memory = syscall6(NR_mmap, 0, 1 << 20, 3, 1, fd, 0);
			if (fd >= 0 && !(memory < 0 && memory > -4096))
				return (struct shared *)memory;
		}
	}
	return 0;
}

static int open_serial(void)
{
	/* struct termios of the kernel: iflag, oflag, cflag, lflag, line, cc[19] */
	struct {
		u32 iflag, oflag, cflag, lflag;
		u8 line, cc[19];
	} raw = {0, 0, 0x1002 | 0x30 | 0x80 | 0x800, 0, 0, {0}};
	raw.cc[6] = 1; /* VMIN: block for one byte */
	int fd = SYS2(NR_open, "/dev/ttyS1", 2 | 0x100);
	if (fd < 0) {
		SYS3(NR_mknod, "/dev/ttyS1", 0020600, 4 << 8 | 65);
		fd = SYS2(NR_open, "/dev/ttyS1", 2 | 0x100);
	}
	if (fd < 0 || SYS3(NR_ioctl, fd, 0x5402, &raw) < 0)
		die("no second serial port (CONFIG_SERIAL_8250)");
	return fd;
}

/* --- processes --------------------------------------------------------------------------------- */

enum { PT_CONT = 7, PT_STEP = 9, PT_GETREGS = 12, PT_SETREGS = 13, PT_SETOPTIONS = 0x4200,
       PT_GETEVENTMSG = 0x4201, PT_GETSIGINFO = 0x4202 };
enum { WALL = 0x40000000, PROCESSES = 4096, BIRTHS = 64 };
enum { RAX = 10, ORIG_RAX = 15, RIP = 16, RSP = 19, REGISTERS = 27 };

struct process {
	int pid, smaps;
	u64 registers[REGISTERS];
};
static struct process processes[PROCESSES];

static struct process *find(int pid)
{
	for (int i = 0; i < PROCESSES; i++)
		if (processes[i].pid == pid)
			return &processes[i];
	return 0;
}

static i64 adopt(struct process *p)
{
	i64 error = SYS4(NR_ptrace, PT_GETREGS, p->pid, 0, p->registers);
	/* The stop is not to be taken for that of an interrupted call. */
	p->registers[ORIG_RAX] = -1;
	if (p->smaps > 0)
		SYS2(NR_close, p->smaps, 0);
	p->smaps = 0;
	return error;
}

static void forget(struct process *p)
{
	if (p->smaps > 0)
		SYS2(NR_close, p->smaps, 0);
	p->pid = p->smaps = 0;
}

static struct buffer compact, before;
static u8 text[1 << 16];

/* The lines that are kept: "<hex>-<hex> ..." and "VmFlags: ...". Counters begin with A to Z, too. */
static int is_kept(const u8 *line, u64 n)
{
	return (line[0] >= '0' && line[0] <= '9') || (line[0] >= 'a' && line[0] <= 'f') ||
	       (n > 7 && line[0] == 'V' && line[2] == 'F');
}

static i64 read_smaps(struct process *p)
{
	if (p->smaps <= 0) {
		char path[64];
		append(append_number(append(path, "/proc/"), p->pid), "/smaps");
		p->smaps = SYS2(NR_open, path, 02000000);
		if (p->smaps < 0)
			return p->smaps;
	}
	SYS3(NR_lseek, p->smaps, 0, 0);
	compact.used = 0;
	u64 rest = 0; /* bytes of a line whose end has not been read yet */
	for (;;) {
		i64 n = SYS3(NR_read, p->smaps, text + rest, sizeof(text) - rest);
		if (n <= 0)
			return n;
		u64 end = rest + n, start = 0;
		for (u64 i = rest; i < end; i++) {
			if (text[i] != '\n')
				continue;
			if (is_kept(text + start, i - start))
				put(&compact, text + start, i + 1 - start);
			start = i + 1;
		}
		rest = end - start;
		for (u64 i = 0; i < rest; i++)
			text[i] = text[start + i];
	}
}

/* Only what differs from the layout sent last: bytes alike at its start and end, then the middle. */
static void put_smaps(struct buffer *answer, struct process *p)
{
	i64 error = read_smaps(p);
	u64 most = compact.used < before.used ? compact.used : before.used, start = 0, end = 0;
	while (start < most && compact.at[start] == before.at[start])
		start++;
	while (end < most - start &&
	       compact.at[compact.used - 1 - end] == before.at[before.used - 1 - end])
		end++;
	put_word(answer, error);
	put_word(answer, start);
	put_word(answer, end);
	put(answer, compact.at + start, compact.used - start - end);
	struct buffer old = before;
	before = compact;
	compact = old;
}

/* words: status, signal or status or errno, result, pc, faulted, address, number of births, births */
static void run(struct buffer *answer, const u64 *w)
{
	static const u8 arguments[6] = {14, 13, 12, 7, 9, 8};
	struct process *p = find(w[1]);
	u64 status = STOPPED, detail = 0, births[BIRTHS], count = 0, info[16] = {0}, seen[REGISTERS] = {0};
	int wait = 0;
	i64 error = p ? 0 : -3;
	if (p) {
		p->registers[RIP] = w[3];
		p->registers[RAX] = w[4];
		for (u64 i = 0; i < w[6] && i < 6; i++)
			p->registers[arguments[i]] = w[7 + i];
		error = SYS4(NR_ptrace, PT_SETREGS, p->pid, 0, p->registers);
	}
	while (!error) {
		error = SYS4(NR_ptrace, w[2], p->pid, 0, 0);
		if (error)
			break;
		SYS4(NR_wait4, p->pid, &wait, WALL, 0);
		if ((wait & 0xff) != 0x7f) {
			status = ENDED, detail = wait;
			break;
		}
		u32 event = (u32)wait >> 16, signal = wait >> 8 & 0xff;
		if (event >= 1 && event <= 3) {
			u64 child = 0;
			SYS4(NR_ptrace, PT_GETEVENTMSG, p->pid, 0, &child);
			if (count < BIRTHS)
				births[count++] = child;
		} else if (!event && (signal == 4 || signal == 5 || signal == 7 || signal == 8 ||
				      signal == 11 || signal == 31)) {
			detail = signal;
			error = SYS4(NR_ptrace, PT_GETREGS, p->pid, 0, seen);
			if (!error && (signal == 7 || signal == 11))
				SYS4(NR_ptrace, PT_GETSIGINFO, p->pid, 0, info);
			break;
		}
	}
	if (error)
		status = FAILED, detail = -error;
	if (status == ENDED)
		forget(p);
	int code = ((int *)info)[2]; /* SEGV_MAPERR, SEGV_ACCERR, SEGV_PKUERR: the access itself failed */
	put_word(answer, status);
	put_word(answer, detail);
	put_word(answer, seen[RAX]);
	put_word(answer, seen[RIP]);
	put_word(answer, detail == 7 || code == 1 || code == 2 || code == 4);
	put_word(answer, info[2]);
	put_word(answer, count);
	put(answer, births, count * 8);
	if (w[5] & WITH_SMAPS && status == STOPPED)
		put_smaps(answer, p);
}

static i64 begin(int pid, u64 *stack)
{
	struct process *p = find(0);
	if (!p)
		die("too many processes");
	p->pid = pid;
	i64 error = adopt(p);
	*stack = p->registers[RSP];
	return error;
}

static void spawn(struct buffer *answer, const u8 *image, u64 size)
{
	static int program;
	char path[64];
	if (!program) {
		int fd = SYS2(NR_memfd_create, "vmatrace", 1 | 0x10);
		if (fd < 0) /* before 6.3 there was no MFD_EXEC */
			fd = SYS2(NR_memfd_create, "vmatrace", 1);
		SYS3(NR_write, fd, image, size);
		append_number(append(path, "/proc/self/fd/"), fd);
		program = SYS2(NR_open, path, 0);
		SYS2(NR_close, fd, 0);
	}
	append_number(append(path, "/proc/self/fd/"), program);
	int wait = 0, pid = SYS2(NR_fork, 0, 0);
	if (!pid) {
		char *argv[] = {"vmatrace", 0}, *envp[] = {0};
		SYS3(NR_exit, -SYS3(NR_execve, path, argv, envp), 0, 0);
	}
	u64 status = STOPPED, detail = 0, stack = 0;
	if (pid < 0) {
		status = FAILED, detail = -pid;
	} else {
		SYS4(NR_wait4, pid, &wait, WALL, 0);
		if ((wait & 0xff) != 0x7f) {
			status = ENDED, detail = wait;
		} else {
			i64 error = SYS4(NR_ptrace, PT_SETOPTIONS, pid, 0, 1 << 20 | 0x02 | 0x04 | 0x08);
			if (!error)
				error = begin(pid, &stack);
			if (error)
				status = FAILED, detail = -error;
		}
	}
	put_word(answer, status);
	put_word(answer, detail);
	put_word(answer, pid);
	put_word(answer, stack);
}

/* A process that is already known has executed something; a new one has just been born. */
static void take(struct buffer *answer, int pid)
{
	struct process *p = find(pid);
	u64 stack = 0;
	i64 error;
	if (p) {
		error = adopt(p);
		stack = p->registers[RSP];
	} else {
		SYS4(NR_wait4, pid, 0, WALL, 0);
		error = begin(pid, &stack);
	}
	put_word(answer, error ? FAILED : STOPPED);
	put_word(answer, -error);
	put_word(answer, stack);
}

static void end(int pid)
{
	struct process *p = find(pid);
	int wait = 0x7f;
	if (!p || SYS2(NR_kill, pid, 9) < 0)
		return;
	while ((wait & 0xff) == 0x7f)
		if (SYS4(NR_wait4, pid, &wait, WALL, 0) < 0)
			break;
	forget(p);
}

static i64 poke(int pid, u64 address, const u8 *bytes, u64 count)
{
	char path[64];
	append(append_number(append(path, "/proc/"), pid), "/mem");
	int fd = SYS2(NR_open, path, 1);
	if (fd < 0)
		return fd;
	i64 written = SYS4(NR_pwrite64, fd, bytes, count, address);
	SYS2(NR_close, fd, 0);
	return written == (i64)count ? 0 : written < 0 ? written : -14;
}

/* An argument with this in its upper half is the address of the bytes, plus its lower half. */
enum { BYTES = 0x5A5ADA7A };

static void call(struct buffer *answer, const u64 *w, u8 *bytes, u64 count)
{
	static struct buffer copy;
	u64 a[6], wanted = w[8];
	copy.used = 0;
	reserve(&copy, count + wanted);
	memcpy(copy.at, bytes, count);
	for (int i = 0; i < 6; i++)
		a[i] = w[2 + i] >> 32 == BYTES ? (u64)copy.at + (u32)w[2 + i] : w[2 + i];
	put_word(answer, syscall6(w[1], a[0], a[1], a[2], a[3], a[4], a[5]));
	put(answer, copy.at, wanted);
}

/* --- the main loop ----------------------------------------------------------------------------- */

static void serve(void)
{
	static struct buffer request, answer;
	for (;;) {
		u32 size;
		receive(&size, 4);
		request.used = 0;
		reserve(&request, size + 128);
		receive(request.at, size);
		const u64 *w = (u64 *)request.at;
		u8 *bytes = request.at;
		answer.used = 0;
		put(&answer, &size, 4); /* its place is kept */
		switch (w[0]) {
		case RUN: run(&answer, w); break;
		case ADOPT: take(&answer, w[1]); break;
		case SPAWN: spawn(&answer, bytes + 8, size - 8); break;
		case KILL: end(w[1]); break;
		case SMAPS: {
			struct process *p = find(w[1]);
			if (p)
				put_smaps(&answer, p);
			break;
		}
		case POKE: put_word(&answer, poke(w[1], w[2], bytes + 24, size - 24)); break;
		case CALL: call(&answer, w, bytes + 72, size - 72); break;
		default: die("unknown request");
		}
		size = answer.used - 4;
		memcpy(answer.at, &size, 4);
		deliver(answer.at, answer.used);
		if (shared)
			bell();
	}
}

void begin_here(void);
void begin_here(void)
{
	/* Where the kernel has no console for init, descriptors 0 to 2 are still free. */
	SYS2(NR_mkdir, "/dev", 0755);
	SYS2(NR_mkdir, "/proc", 0755);
	SYS2(NR_mkdir, "/sys", 0755);
	if (syscall6(NR_mount, (u64)"dev", (u64)"/dev", (u64)"devtmpfs", 0, 0, 0) < 0)
		SYS3(NR_mknod, "/dev/zero", 0020666, 1 << 8 | 5);
	if (SYS2(NR_open, "/dev/console", 2) == 0) {
		SYS2(NR_open, "/dev/console", 2);
		SYS2(NR_open, "/dev/console", 2);
	}
	if (syscall6(NR_mount, (u64)"proc", (u64)"/proc", (u64)"proc", 0, 0, 0) < 0)
		die("/proc cannot be mounted (CONFIG_PROC_FS)");
	syscall6(NR_mount, (u64)"sys", (u64)"/sys", (u64)"sysfs", 0, 0, 0);
	tty = open_serial();
	shared = find_shared();
	ports = SYS3(NR_ioperm, UART, 1, 1) == 0;
	if (shared)
		SYS3(NR_write, tty, "shared\n", 7);
	else
		SYS3(NR_write, tty, "serial\n", 7);
	serve();
}

__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tand $-16, %rsp\n\tcall begin_here\n\thlt\n");
