/* What record.sh lets strace look at: every call that matters to memory, threads, children. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static void *work(void *unused)
{
	void *p = mmap(NULL, 8192, RW, ANON, -1, 0);
	usleep(1000);
	munmap(p, 8192);
	return unused;
}

static void child(void (*run)(void), int vforked)
{
	pid_t pid = vforked ? vfork() : fork();
	if (pid == 0) {
		run();
		_exit(1);
	}
	waitpid(pid, NULL, 0);
}

static void exec_self(void)
{
	if (access("program", R_OK) == 0)
		execl("./nothing", "nothing", NULL);
	execl("./program", "program", "an argument that is longer than strace shows", NULL);
}

static void die(void)
{
	work(NULL);
	raise(SIGKILL);
}

static void files(void)
{
	int fd = open("program.c", O_RDONLY);
	void *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
	int same = dup(fd), again = open("program.c", O_RDONLY | O_CLOEXEC), memory;
	close(fd);
	mmap(p + 4096, 4096, PROT_READ, MAP_PRIVATE | MAP_FIXED, same, 4096);
	mmap(p + 8192, 4096, PROT_READ, MAP_PRIVATE | MAP_FIXED, again, 8192);
	dup2(fcntl(same, F_DUPFD_CLOEXEC, 20), 30);
	memory = memfd_create("ring, (one)", MFD_CLOEXEC);
	ftruncate(memory, 8192);
	mmap(NULL, 8192, RW, MAP_SHARED, memory, 0);
	syscall(SYS_remap_file_pages, p, 4096, 0, 0, 0);
	syscall(SYS_close_range, 20, 30, 0);
}

static void special(void)
{
	int id = shmget(IPC_PRIVATE, 12345, 0600 | IPC_CREAT);
	void *p = shmat(id, NULL, 0);
	char *q = mmap(NULL, 16384, RW, ANON, -1, 0);
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register reg = {.range = {(long)q, 8192}, .mode = 1};
	struct { void *base; size_t length; } range = {q, 4096};
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	int self = syscall(SYS_pidfd_open, getpid(), 0);
	shmctl(id, IPC_RMID, NULL);
	shmdt(p);
	ioctl(uffd, UFFDIO_API, &api);
	ioctl(uffd, UFFDIO_REGISTER, &reg);
	ioctl(uffd, UFFDIO_UNREGISTER, &reg.range);
	syscall(SYS_process_madvise, self, &range, 1, MADV_COLD, 0);
	prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, q, 4096, "a name, (it)");
	syscall(SYS_pkey_mprotect, q, 4096, PROT_READ, -1);
	syscall(SYS_mbind, q, 4096, 1, NULL, 0, 0);
	syscall(462 /* mseal */, q + 12288, 4096, 0);
}

int main(int argc, char **argv)
{
	pthread_t thread[2];
	char *p;
	if (argc > 1 && strlen(argv[1]) > 1)
		return 0;
	prctl(PR_SET_NAME, "a (thread)");
	prctl(67 /* PR_SET_MEMORY_MERGE */, 1, 0, 0, 0);
	p = mmap(NULL, 65536, RW, ANON, -1, 0);
	mprotect(p + 4096, 4096, PROT_READ);
	madvise(p, 65536, MADV_DONTNEED);
	p = mremap(p + 8192, 4096, 8192, MREMAP_MAYMOVE);
	mlock(p, 4096);
	mlock2(p, 4096, 1);
	munlock(p, 4096);
	mlockall(MCL_CURRENT);
	munlockall();
	msync(p, 4096, MS_ASYNC);
	mmap(NULL, 1UL << 60, RW, ANON, -1, 0);
	mmap((void *)0x10000, 4096, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0);
	sbrk(8192);
	files();
	special();
	for (int i = 0; i < 2; i++)
		pthread_create(thread + i, NULL, work, NULL);
	for (int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	child(exec_self, 0);
	child(die, 0);
	child(exec_self, 1);
	signal(SIGUSR1, SIG_IGN);
	raise(SIGUSR1);
	if (argc > 1)
		raise(SIGSEGV);
	return 3;
}
