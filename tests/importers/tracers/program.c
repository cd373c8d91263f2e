#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sys/shm.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif
#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67
#endif
#define P 4096
static void *thread(void *arg)
{
	char *m = mmap(NULL, 4 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(m + P, P, PROT_READ);
	munmap(m, 4 * P);
	return arg;
}
int main(int argc, char **argv)
{
	char *base = (char *)0x600000000000;
	int anon = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
	pthread_t t;
	if (argc > 1)
		_exit(0);
	mmap(base, 16 * P, PROT_READ | PROT_WRITE, anon, -1, 0);
	mprotect(base + 4 * P, 2 * P, PROT_READ);
	madvise(base + 8 * P, 2 * P, MADV_MERGEABLE);
	prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, base + 12 * P, P, "a name");
	munmap(base + 14 * P, P);
	mremap(base + 15 * P, P, 2 * P, MREMAP_MAYMOVE | MREMAP_FIXED, base + 64 * P);
	mlock(base, P);
	int fd = memfd_create("shared", MFD_CLOEXEC);
	ftruncate(fd, 8 * P);
	mmap(base + 32 * P, 4 * P, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
	mmap(base + 36 * P, 4 * P, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 4 * P);
	close(fd);
	fd = open("/proc/self/exe", O_RDONLY);
	mmap(base + 48 * P, P, PROT_READ, MAP_PRIVATE | MAP_FIXED_NOREPLACE, fd, 0);
	mmap(base + 49 * P, P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED_NOREPLACE, fd, P);
	close(fd);
	mprotect(base + 200 * P, P, PROT_NONE);
	pthread_create(&t, NULL, thread, NULL);
	pthread_join(t, NULL);
	pid_t child = fork();
	if (!child) {
		munmap(base, P);
		execl(argv[0], argv[0], "again", NULL);
		_exit(1);
	}
	waitpid(child, NULL, 0);
	prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0);
	mmap(base + 80 * P, P, PROT_READ | PROT_WRITE, anon, -1, 0);
	return 0;
}
