/* Memory for libcamera's buffers where the kernel has neither /dev/udmabuf nor /dev/dma_heap: memfds, which map and
 * read the same. Preloaded (LD_PRELOAD) into a test that has no real camera. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static int is_played(const char *path)
{
	return path && (!strcmp(path, "/dev/udmabuf") || !strncmp(path, "/dev/dma_heap/", 14));
}

/* Both names of open(2), since libraries are built with either. */
#define PLAYED_OPEN(name)                                                     \
	int name(const char *path, int flags, ...)                            \
	{                                                                     \
		int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, #name); \
		va_list more;                                                 \
		va_start(more, flags);                                        \
		int mode = va_arg(more, int);                                 \
		va_end(more);                                                 \
		if (is_played(path))                                          \
			return memfd_create("played-device", MFD_CLOEXEC);    \
		return real(path, flags, mode);                               \
	}
PLAYED_OPEN(open)
PLAYED_OPEN(open64)

static int allocate(struct dma_heap_allocation_data *wanted)
{
	int fd = memfd_create("played-heap", MFD_CLOEXEC);
	if (fd < 0)
		return -1;
	if (ftruncate(fd, wanted->len)) {
		close(fd);
		return -1;
	}
	wanted->fd = fd;
	return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	int (*real)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
	va_list more;
	va_start(more, request);
	void *argument = va_arg(more, void *);
	va_end(more);
	if (request == UDMABUF_CREATE)
		return fcntl(((struct udmabuf_create *)argument)->memfd, F_DUPFD_CLOEXEC, 0);
	if (request == DMA_HEAP_IOCTL_ALLOC)
		return allocate(argument);
	int answer = real(fd, request, argument);
	/* A memfd needs no syncing, and has its name already. */
	if (answer < 0 && errno == ENOTTY &&
	    (request == DMA_BUF_IOCTL_SYNC || request == DMA_BUF_SET_NAME_A || request == DMA_BUF_SET_NAME_B))
		return 0;
	return answer;
}
