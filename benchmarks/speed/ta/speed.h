/* Shared by the source files of speed. Whatever goes wrong ends in a panic: nothing that failed is measured. */
#ifndef SPEED_H
#define SPEED_H

#include <speed_ta.h>
#include <tee_internal_api.h>

static inline void must(TEE_Result res)
{
	if (res)
		TEE_Panic(res);
}

void data(uint32_t algorithm, void *buffer, size_t len);
void sign(uint32_t algorithm, uint32_t bits);
void verify(uint32_t algorithm, uint32_t bits);
void generate_key(uint32_t type, uint32_t bits);
void calls(uint32_t which, uint32_t count);
void create_object(uint32_t number, const void *buffer, size_t len);
void write_object(const void *buffer, size_t len);
void read_object(uint32_t number, void *buffer, size_t len);
uint32_t count_objects(void);

#endif
