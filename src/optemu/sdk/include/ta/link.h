/* The modules of this TA: itself first, then its shared libraries. Layouts are the ELF and System V ABIs'. */
#ifndef LINK_H
#define LINK_H

#include <stddef.h>
#include <stdint.h>

#define PT_LOAD 1
#define PT_DYNAMIC 2
#define PT_TLS 7
#define DT_NULL 0
#define DT_INIT_ARRAY 25
#define DT_FINI_ARRAY 26
#define DT_INIT_ARRAYSZ 27
#define DT_FINI_ARRAYSZ 28

#ifdef __LP64__
typedef struct {
	uint32_t p_type;
	uint32_t p_flags;
	uint64_t p_offset;
	uint64_t p_vaddr;
	uint64_t p_paddr;
	uint64_t p_filesz;
	uint64_t p_memsz;
	uint64_t p_align;
} Elf_Phdr;
#else
typedef struct {
	uint32_t p_type;
	uint32_t p_offset;
	uint32_t p_vaddr;
	uint32_t p_paddr;
	uint32_t p_filesz;
	uint32_t p_memsz;
	uint32_t p_flags;
	uint32_t p_align;
} Elf_Phdr;
#endif

typedef struct {
	uintptr_t d_tag;
	union {
		uintptr_t d_val;
		uintptr_t d_ptr;
	} d_un;
} Elf_Dyn;

struct dl_phdr_info {
	uintptr_t dlpi_addr;
	const char *dlpi_name;
	const Elf_Phdr *dlpi_phdr;
	uint16_t dlpi_phnum;
	unsigned long long dlpi_adds;
	unsigned long long dlpi_subs;
	size_t dlpi_tls_modid;
	void *dlpi_tls_data;
};

/* Calls callback for each module, until one call returns something else than 0; returns that. */
int dl_iterate_phdr(int (*callback)(struct dl_phdr_info *info, size_t size, void *data), void *data);

#endif
