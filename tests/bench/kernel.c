/*
 * Makes the memory calls of a script as the running kernel does them: kernel.py writes it.
 *
 *     kernel SCRIPT FILE     prints calls, those that answered otherwise, and seconds of CPU
 *
 * A line is a letter, the arguments and the result in hex. What is mapped lies lower by DOWN than
 * the script says, away from this program; what is mapped writable is written to.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DOWN 0x400000000ul

static char buffer[1 << 16];
static long length, at;
static int script;

static int next(void)
{
	if (at == length) {
		length = read(script, buffer, sizeof(buffer));
		at = 0;
		if (length <= 0)
			return -1;
	}
	return buffer[at++];
}

static unsigned long number(int *behind)
{
	unsigned long value = 0;

	for (;;) {
		int c = next();

		if (c >= '0' && c <= '9') {
			value = value << 4 | (unsigned long)(c - '0');
		} else if (c >= 'a' && c <= 'f') {
			value = value << 4 | (unsigned long)(c - 'a' + 10);
		} else {
			*behind = c;
			return value;
		}
	}
}

int main(int argc, char **argv)
{
	unsigned long own = syscall(SYS_brk, 0), heap = 0;
	long calls = 0, others = 0;
	struct rusage used;
	int file, letter;

	if (argc != 3)
		return 2;
	script = open(argv[1], O_RDONLY);
	file = open(argv[2], O_RDONLY);
	while ((letter = next()) > 0) {
		unsigned long a[6] = { 0 }, wanted, got = 0;
		int n = 0, behind;

		next();
		do
			a[n++] = number(&behind);
		while (behind == ' ' && n < 6);
		wanted = number(&behind);
		switch (letter) {
		case 'm': /* mmap */
			wanted -= DOWN;
			got = syscall(SYS_mmap, wanted, a[1], a[2], a[3] | MAP_FIXED,
				      a[3] & MAP_ANONYMOUS ? -1 : file, a[5]);
			if (got == wanted && a[2] & PROT_WRITE)
				*(volatile char *)got = 1;
			break;
		case 'u':
			got = syscall(SYS_munmap, a[0] - DOWN, a[1]);
			break;
		case 'p':
			got = syscall(SYS_mprotect, a[0] - DOWN, a[1], a[2]);
			break;
		case 'a':
			got = syscall(SYS_madvise, a[0] - DOWN, a[1], a[2]);
			break;
		case 'b':
			heap = heap ? heap : wanted;
			wanted += own - heap;
			got = syscall(SYS_brk, a[0] ? a[0] + own - heap : 0);
			break;
		}
		calls++;
		others += got != wanted;
	}
	getrusage(RUSAGE_SELF, &used);
	printf("%ld %ld %f\n", calls, others,
	       (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
		       (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
	return 0;
}
