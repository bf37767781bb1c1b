/*
 * The TA's modules: constructors and destructors, thread-local storage, dl_iterate_phdr().
 *
 * The loader writes a table of all modules into __elf_phdr_info, and a longer one after each dlopen(). A TA has one
 * thread, so there is one block of thread-local storage: two words, then each module's variables in the order of the
 * table. That order is the loader's too: it has put these offsets into the code (AArch64).
 */
#include <link.h>
#include <stdlib.h>
#include <string.h>

#include "runtime.h"

struct elf_phdr_info {
	uint32_t reserved;
	uint16_t count;
	uint8_t reserved2;
	char zero;
	struct dl_phdr_info *dlpi;
};

struct elf_phdr_info __elf_phdr_info;

#define TCB_HEAD (2 * sizeof(uintptr_t))

static uint8_t *tcb;
static size_t tcb_size;
/* How many modules have their variables in the block, and how many have been initialised. */
static size_t num_in_tcb;
static size_t num_initialised;

static const Elf_Phdr *find_phdr(const struct dl_phdr_info *module, uint32_t type)
{
	size_t n = 0;

	for (n = 0; n < module->dlpi_phnum; n++)
		if (module->dlpi_phdr[n].p_type == type)
			return module->dlpi_phdr + n;
	return NULL;
}

static size_t tls_size(const struct dl_phdr_info *module)
{
	const Elf_Phdr *tls = find_phdr(module, PT_TLS);

	return tls ? tls->p_memsz : 0;
}

static size_t tls_offset(size_t index)
{
	size_t offset = TCB_HEAD;
	size_t n = 0;

	for (n = 0; n < index; n++)
		offset += tls_size(__elf_phdr_info.dlpi + n);
	return offset;
}

static void set_thread_pointer(void)
{
#ifdef __aarch64__
	__asm__ volatile("msr tpidr_el0, %0" : : "r"(tcb));
#endif
}

void __utee_tcb_init(void)
{
	size_t size = tls_offset(__elf_phdr_info.count);
	const struct dl_phdr_info *module = NULL;
	const Elf_Phdr *tls = NULL;

	if (size > TCB_HEAD && size > tcb_size) {
		tcb = realloc(tcb, size);
		if (!tcb)
			abort();
		memset(tcb + tcb_size, 0, size - tcb_size);
		tcb_size = size;
		set_thread_pointer();
	}
	for (; num_in_tcb < __elf_phdr_info.count; num_in_tcb++) {
		module = __elf_phdr_info.dlpi + num_in_tcb;
		tls = find_phdr(module, PT_TLS);
		if (tls)
			memcpy(tcb + tls_offset(num_in_tcb), (const void *)(module->dlpi_addr + tls->p_vaddr),
			       tls->p_filesz);
	}
}

#ifdef __arm__
struct tls_index {
	unsigned long module;
	unsigned long offset;
};

void *__tls_get_addr(const struct tls_index *ti);

/* Modules that have thread-local variables are numbered from 1 on, in the order of the table. */
void *__tls_get_addr(const struct tls_index *ti)
{
	size_t n = 0;

	for (n = 0; n < __elf_phdr_info.count; n++)
		if (__elf_phdr_info.dlpi[n].dlpi_tls_modid == ti->module)
			return tcb + tls_offset(n) + ti->offset;
	abort();
}
#endif

typedef void (*init_fn)(void);

/* The array of functions that a module's dynamic section has under these two tags. */
static const init_fn *fn_array(const struct dl_phdr_info *module, uintptr_t tag, uintptr_t size_tag, size_t *count)
{
	const Elf_Phdr *phdr = find_phdr(module, PT_DYNAMIC);
	const Elf_Dyn *dyn = NULL;
	const init_fn *fns = NULL;

	*count = 0;
	if (!phdr)
		return NULL;
	for (dyn = (const Elf_Dyn *)(module->dlpi_addr + phdr->p_vaddr); dyn->d_tag != DT_NULL; dyn++) {
		if (dyn->d_tag == tag)
			fns = (const init_fn *)(module->dlpi_addr + dyn->d_un.d_ptr);
		else if (dyn->d_tag == size_tag)
			*count = dyn->d_un.d_val / sizeof(init_fn);
	}
	return fns;
}

void __utee_call_elf_init_fn(void)
{
	size_t first = num_initialised;
	size_t n = __elf_phdr_info.count;
	size_t count = 0;
	size_t i = 0;

	num_initialised = n;
	/* From the last on: what a module depends on comes after it. */
	while (n-- > first) {
		const init_fn *fns = fn_array(__elf_phdr_info.dlpi + n, DT_INIT_ARRAY, DT_INIT_ARRAYSZ, &count);

		for (i = 0; i < count; i++)
			fns[i]();
	}
}

void __utee_call_elf_fini_fn(void)
{
	size_t count = 0;
	size_t n = 0;

	for (n = 0; n < __elf_phdr_info.count; n++) {
		const init_fn *fns = fn_array(__elf_phdr_info.dlpi + n, DT_FINI_ARRAY, DT_FINI_ARRAYSZ, &count);

		while (count--)
			fns[count]();
	}
}

int dl_iterate_phdr(int (*callback)(struct dl_phdr_info *info, size_t size, void *data), void *data)
{
	struct dl_phdr_info info;
	size_t n = 0;
	int st = 0;

	for (n = 0; n < __elf_phdr_info.count && !st; n++) {
		info = __elf_phdr_info.dlpi[n];
		info.dlpi_tls_data = tls_size(&info) ? tcb + tls_offset(n) : NULL;
		st = callback(&info, sizeof(info), data);
	}
	return st;
}
