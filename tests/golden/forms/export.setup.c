// SPDX-License-Identifier: MIT
/*
 * setup
 * All that a program needs before its first call.
 *
 * In two paragraphs.
 *
 * Made by vmatrace 0.1.0; what has to hold is that of 6.12.
 * cc -Wall -Wextra -Werror -static -o test THIS.c && ./test
 * Prints KTAP; exit status 0: it holds, 1: it does not, 4: cannot be tried here.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define PAGE_SIZE 4096
#ifndef MAP_ANONYMOUS
#define MAP_ANONYMOUS 0x20
#endif
#ifndef MAP_PRIVATE
#define MAP_PRIVATE 0x2
#endif
#ifndef MAP_SHARED
#define MAP_SHARED 0x1
#endif
#ifndef NULL
#define NULL 0x0
#endif
#ifndef PROT_EXEC
#define PROT_EXEC 0x4
#endif
#ifndef PROT_READ
#define PROT_READ 0x1
#endif
#ifndef PROT_WRITE
#define PROT_WRITE 0x2
#endif
#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 0x43
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

/* --- what every exported trace needs: KTAP, calls, faults, and VMAs as the kernel shows them --- */

#define PASS 0
#define FAIL 1
#define SKIP 4
#define MOST 4096
/* Not every trace needs every one of them. */
#define TOOL __attribute__((unused)) static

static int tests, failed;

#define CALL(name, ...) call(__NR_##name, (unsigned long[6]){ __VA_ARGS__ })

/* The raw system call: its result, or -errno. */
TOOL long call(long number, const unsigned long *a)
{
	long result = syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);

	return result == -1 ? -errno : result;
}

TOOL void skip(const char *why)
{
	printf("KTAP version 1\n1..0 # SKIP %s\n", why);
	exit(SKIP);
}

TOOL void verdict(bool holds, const char *what)
{
	printf("%s %d %s\n", holds ? "ok" : "not ok", ++tests, what);
	failed += !holds;
}

/* A call that has to succeed, or (expected < 0) to fail with that error. */
TOOL void result_is(long result, long expected, const char *what)
{
	bool holds = expected < 0 ? result == expected : result < -4095 || result >= 0;

	if (!holds)
		printf("# returned %ld (%s), expected %s\n", result,
		       result < 0 && result >= -4095 ? strerror(-(int)result) : "success",
		       expected < 0 ? strerror(-(int)expected) : "success");
	verdict(holds, what);
}

TOOL void address_is(unsigned long result, unsigned long expected, const char *what)
{
	if (result != expected)
		printf("# returned %#lx, expected %#lx\n", result, expected);
	verdict(result == expected, what);
}

/* --- accesses: each page of a range once, -EFAULT at the first that cannot be --- */

static sigjmp_buf way_out;

TOOL void caught(int signal)
{
	siglongjmp(way_out, signal);
}

#ifdef __x86_64__
static unsigned long fetched;
static int steps;

/* The first trap comes after the jump, the second after the instruction that was fetched. */
TOOL void stepped(int signal, siginfo_t *info, void *context)
{
	unsigned long at = (unsigned long)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
	bool refused = (signal == SIGSEGV || signal == SIGBUS) && at == fetched &&
		       (unsigned long)info->si_addr == fetched;

	if (signal != SIGTRAP || steps++)
		siglongjmp(way_out, refused ? 2 : 1);
}
#endif

/* Whether an instruction can be fetched from a page: one is executed, whatever it is. */
TOOL bool execute(unsigned long page)
{
#ifdef __x86_64__
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP };
	struct sigaction action = { .sa_sigaction = stepped, .sa_flags = SA_SIGINFO };
	static long scratch[8];
	int how;

	for (int i = 0; i < 5; i++)
		sigaction(signals[i], &action, NULL);
	fetched = page;
	steps = 0;
	how = sigsetjmp(way_out, 1);
	if (how)
		return how == 1;
	__asm__ volatile("lea -128(%%rsp), %%rsp\n\tpushfq\n\torq $0x100, (%%rsp)\n\tpopfq\n\t"
			 "jmp *%0" : : "D"(page), "a"(scratch) : "memory");
	__builtin_unreachable();
#else
	return page == 0; /* can_execute() has skipped it */
#endif
}

TOOL long fault(unsigned long addr, unsigned long length, int access)
{
	struct sigaction action = { .sa_handler = caught };
	volatile unsigned long page = addr & ~(PAGE_SIZE - 1);

	for (; page < addr + length; page += PAGE_SIZE) {
		volatile char *byte = (volatile char *)page;

		sigaction(SIGSEGV, &action, NULL);
		sigaction(SIGBUS, &action, NULL);
		if (sigsetjmp(way_out, 1))
			return -EFAULT;
		if (access & PROT_WRITE)
			*byte = 0;
		else if (access != PROT_EXEC)
			(void)*byte;
		if (access & PROT_EXEC && !execute(page))
			return -EFAULT;
	}
	return 0;
}

/* --- the VMAs of this process that are not the program's own --- */

struct vma {
	unsigned long start, end, offset;
	char perms[8], name[128], flags[160];
};

static struct vma own[64], now[MOST];
static int owned, mapped, peak;

static bool is_own(const struct vma *vma)
{
	if (!strncmp(vma->name, "[stack", 6) || !strncmp(vma->name, "[heap", 5) ||
	    !strncmp(vma->name, "[v", 2))
		return true;
	for (int i = 0; i < owned; i++)
		if (vma->start < own[i].end && own[i].start < vma->end)
			return true;
	return false;
}

static void line_of_smaps(char *line, struct vma *vma, bool all, struct vma *list, int *count)
{
	int name = 0;
	struct vma found = { 0 };

	if (sscanf(line, "%lx-%lx %7s %lx %*s %*s %n", &found.start, &found.end, found.perms,
		   &found.offset, &name) >= 4) {
		snprintf(found.name, sizeof(found.name), "%s", name ? line + name : "");
		*vma = found;
	} else if (!strncmp(line, "VmFlags:", 8)) {
		snprintf(vma->flags, sizeof(vma->flags), "%s", line + 8);
		if ((all || !is_own(vma)) && *count < MOST)
			list[(*count)++] = *vma;
	}
}

static int read_smaps(bool all, struct vma *list)
{
	static char text[65536];
	int file = open("/proc/self/smaps", O_RDONLY), count = 0;
	size_t held = 0;
	ssize_t got;
	struct vma vma = { 0 };

	while ((got = read(file, text + held, sizeof(text) - 1 - held)) > 0) {
		char *line = text, *end;

		held += (size_t)got;
		text[held] = 0;
		while ((end = strchr(line, '\n'))) {
			*end = 0;
			line_of_smaps(line, &vma, all, list, &count);
			line = end + 1;
		}
		held -= (size_t)(line - text);
		memmove(text, line, held);
	}
	close(file);
	return count;
}

TOOL void look(void)
{
	mapped = read_smaps(false, now);
	if (mapped > peak)
		peak = mapped;
}

static bool has_flag(const struct vma *vma, const char *code)
{
	const char *found = vma->flags;

	while ((found = strstr(found, code))) {
		if (found[-1] == ' ' && (found[2] == ' ' || !found[2]))
			return true;
		found += 2;
	}
	return false;
}

/* The same codes in any order; soft-dirty is nobody's business here. */
TOOL bool same_flags(const struct vma *vma, const char *expected)
{
	int wanted = 0, there = 0;
	char code[3] = "";

	for (const char *at = expected; *at; at += at[2] ? 3 : 2, wanted++) {
		memcpy(code, at, 2);
		if (!has_flag(vma, code))
			return false;
	}
	for (const char *at = vma->flags; *at; at++)
		if (*at != ' ' && at[1] && at[1] != ' ')
			there += strncmp(at, "sd", 2) != 0;
	return there == wanted;
}

TOOL int mergeable(void)
{
	int count = 0;

	for (int i = 0; i < mapped; i++)
		count += has_flag(&now[i], "mg");
	return count;
}

/* A count, and whether it is as it has to be. */
TOOL void count_is(int actual, bool holds, const char *what)
{
	if (!holds)
		printf("# there are %d\n", actual);
	verdict(holds, what);
}

/* NULL, and offset -1, is not compared. */
struct expected {
	unsigned long start, end;
	const char *perms;
	long offset;
	const char *name, *flags;
};

TOOL bool is_as(const struct vma *vma, const struct expected *want)
{
	return vma->start == want->start && vma->end == want->end &&
	       (!want->perms || !strcmp(vma->perms, want->perms)) &&
	       (want->offset < 0 || vma->offset == (unsigned long)want->offset) &&
	       (!want->name || !strcmp(vma->name, want->name)) &&
	       (!want->flags || same_flags(vma, want->flags));
}

TOOL void maps_are(const struct expected *wanted, int count, const char *what)
{
	bool holds = mapped == count;

	for (int i = 0; i < count && holds; i++)
		holds = is_as(&now[i], &wanted[i]);
	if (!holds) {
		for (int i = 0; i < count; i++)
			printf("# expected %lx-%lx %s %s\n", wanted[i].start, wanted[i].end,
			       wanted[i].perms ? wanted[i].perms : "",
			       wanted[i].flags ? wanted[i].flags : "");
		for (int i = 0; i < mapped; i++)
			printf("# there is %lx-%lx %s%s %s\n", now[i].start, now[i].end,
			       now[i].perms, now[i].flags, now[i].name);
	}
	verdict(holds, what);
}

/* --- what has to be as the trace says before anything is tried --- */

TOOL void sysctl_is(const char *path, long expected)
{
	char text[32] = "", why[128];
	int file = open(path, O_RDONLY);

	if (file < 0 || read(file, text, sizeof(text) - 1) < 0 || atol(text) != expected) {
		snprintf(why, sizeof(why), "%s has to be %ld", path, expected);
		skip(why);
	}
	close(file);
}

/* A userfaultfd; ready for use, unless the trace asks for its features itself. */
TOOL int uffd(int ready)
{
	int file = (int)syscall(__NR_userfaultfd, O_CLOEXEC);
	struct uffdio_api api = { .api = UFFD_API };

	if (file < 0)
		file = (int)syscall(__NR_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	if (file < 0 || (ready && ioctl(file, UFFDIO_API, &api)))
		skip("no userfaultfd here");
	return file;
}

TOOL void can_execute(void)
{
#ifndef __x86_64__
	skip("an instruction can be fetched from any page on x86-64 only");
#endif
}

TOOL void names_are_kept(void)
{
	void *page = mmap(NULL, PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (prctl(0x53564d41, 0, page, PAGE_SIZE, "x"))
		skip("anonymous memory has no names here (CONFIG_ANON_VMA_NAME)");
	munmap(page, PAGE_SIZE);
}

/* Without randomization the program's own memory is out of the way, on every run. */
static void at_usual_addresses(int argc, char **argv)
{
	int before = personality(0xffffffff);

	if (argc > 0 && before != -1 && !(before & ADDR_NO_RANDOMIZE) &&
	    personality((unsigned long)before | ADDR_NO_RANDOMIZE) != -1)
		execv("/proc/self/exe", argv);
}

static void start(void)
{
	static char buffer[4096];

	setvbuf(stdout, buffer, _IOLBF, sizeof(buffer));
	if (getpagesize() != PAGE_SIZE)
		skip("the trace has other pages");
	alarm(60);
	own[0].end = 0;
	owned = read_smaps(true, now);
	if (owned > 64)
		skip("this program has too many VMAs of its own (link it with -static)");
	memcpy(own, now, sizeof(own));
	look();
}

/* An unlinked file of its own, opened as the trace has it. */
static int opened(int file, long size, int mode)
{
	char path[64];
	int again;

	if (file < 0 || ftruncate(file, size))
		skip("a file that the trace needs cannot be made here");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	again = open(path, mode);
	if (again < 0)
		skip("a file that the trace needs cannot be opened here");
	return again;
}

/* A file in $TMPDIR or here, which has to be on that file system. */
static int on_disk(long magic, const char *what)
{
	const char *folders[] = { getenv("TMPDIR"), "/tmp", "/var/tmp", "." };
	char path[512];
	struct statfs at;

	for (int i = 0; i < 4; i++) {
		int file;

		if (!folders[i] || statfs(folders[i], &at) || (at.f_type & 0xffffffffL) != magic)
			continue;
		snprintf(path, sizeof(path), "%s/vmatrace-XXXXXX", folders[i]);
		file = mkstemp(path);
		if (file >= 0) {
			unlink(path);
			return file;
		}
	}
	skip(what);
	return -1;
}

/* --- setup --- */

static int fd_3, fd_4, fd_5, fd_6, fd_7;
static unsigned long a, at_18, at_19, at_20, b, c;
enum { PROCESS_MAIN_, PROCESS_C_, PROCESSES };

/* One process at a time: whose turn it is hears so through its pipe, and what the others know. */
static int pipes[PROCESSES][2];
static unsigned long *const shared[] = { &a, &at_18, &at_19, &at_20, &b, &c };
#define SHARED (sizeof(shared) / sizeof(*shared))

static void give(int process)
{
	unsigned long told[SHARED + 2] = { (unsigned long)tests, (unsigned long)failed };

	for (size_t i = 0; i < SHARED; i++)
		told[2 + i] = *shared[i];
	fflush(stdout);
	if (write(pipes[process][1], told, sizeof(told)) != sizeof(told))
		exit(FAIL);
}

static void turn(int process)
{
	unsigned long told[SHARED + 2];

	if (read(pipes[process][0], told, sizeof(told)) != sizeof(told))
		exit(FAIL);
	tests = (int)told[0];
	failed = (int)told[1];
	for (size_t i = 0; i < SHARED; i++)
		*shared[i] = told[2 + i];
}

static void process_c(void);

static void prepare(void)
{
	sysctl_is("/proc/sys/vm/overcommit_memory", 1);
	sysctl_is("/proc/sys/vm/nr_hugepages", 4);
	setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){ 65536UL, 65536UL });
	setrlimit(RLIMIT_STACK, &(struct rlimit){ 8388608UL, 8388608UL });
	fd_3 = opened(on_disk(0xef53L, "no folder on ext4 here (TMPDIR says where)"), 1073741824, O_RDONLY);
	fd_4 = open("/dev/zero", O_RDWR);
	fd_5 = opened(memfd_create("vmatrace", MFD_HUGETLB), 4194304, O_RDWR);
	fd_6 = opened(memfd_create("vmatrace", 0), 8192, O_RDWR);
	(void)fd_7;
	names_are_kept();
	for (int i = 0; i < PROCESSES; i++)
		if (pipe(pipes[i]))
			skip("no pipes");
	start();
	if (prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0))
		skip("no KSM here (CONFIG_KSM)");
}

static void process_c(void)
{
	long r;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	turn(PROCESS_C_);
	/* line 24: munmap(a, PAGE_SIZE) */
	r = CALL(munmap, a, PAGE_SIZE);
	result_is(r, 0, "line 24: munmap(a, PAGE_SIZE)");

	give(PROCESS_MAIN_);
	fflush(stdout);
	pause(); /* the end of all ends it */
	_exit(PASS);
}

int main(int argc, char **argv)
{
	long r;

	at_usual_addresses(argc, argv);
	prepare();
	printf("KTAP version 1\n1..9\n");

	/* line 17: a = mmap(NULL, 2*PAGE_SIZE, PROT_READ, MAP_PRIVATE, 3, 0) */
	a = CALL(mmap, 0, 2*PAGE_SIZE, PROT_READ, MAP_PRIVATE, fd_3, 0);
	result_is((long)a, 0, "line 17: mmap(NULL, 2*PAGE_SIZE, PROT_READ, MAP_PRIVATE, 3, 0)");

	/* line 18: mmap(NULL, PAGE_SIZE, PROT_READ, MAP_PRIVATE, 4, 0) */
	at_18 = CALL(mmap, 0, PAGE_SIZE, PROT_READ, MAP_PRIVATE, fd_4, 0);
	result_is((long)at_18, 0, "line 18: mmap(NULL, PAGE_SIZE, PROT_READ, MAP_PRIVATE, 4, 0)");

	/* line 19: mmap(NULL, 0x200000, PROT_READ, MAP_SHARED, 5, 0) */
	at_19 = CALL(mmap, 0, 0x200000, PROT_READ, MAP_SHARED, fd_5, 0);
	result_is((long)at_19, 0, "line 19: mmap(NULL, 0x200000, PROT_READ, MAP_SHARED, 5, 0)");

	/* line 20: mmap(NULL, PAGE_SIZE, PROT_READ|PROT_WRITE, MAP_SHARED, 6, 0) */
	at_20 = CALL(mmap, 0, PAGE_SIZE, PROT_READ|PROT_WRITE, MAP_SHARED, fd_6, 0);
	result_is((long)at_20, 0, "line 20: mmap(NULL, PAGE_SIZE, PROT_READ|PROT_WRITE, MAP_SHARED, 6, 0)");

	/* line 21: b = mmap(NULL, PAGE_SIZE, PROT_READ|PROT_EXEC, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) */
	b = CALL(mmap, 0, PAGE_SIZE, PROT_READ|PROT_EXEC, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0);
	result_is((long)b, 0, "line 21: mmap(NULL, PAGE_SIZE, PROT_READ|PROT_EXEC, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)");

	/* line 22: prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, b, PAGE_SIZE, "pool") */
	r = CALL(prctl, PR_SET_VMA, 0, b, 4096, (unsigned long)"pool");
	result_is(r, 0, "line 22: prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, b, PAGE_SIZE, \042pool\042)");

	/* line 23: c = fork() */
	c = (unsigned long)fork();
	if (!c)
		process_c();
	result_is((long)c, 0, "line 23: fork()");

	give(PROCESS_C_);
	turn(PROCESS_MAIN_);
	/* line 25: munmap(a, PAGE_SIZE) */
	r = CALL(munmap, a, PAGE_SIZE);
	result_is(r, 0, "line 25: munmap(a, PAGE_SIZE)");

	printf("# passed %d of %d\n", tests - failed, 9);
	return failed || tests != 9 ? FAIL : PASS;
}
