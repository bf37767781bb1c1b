#ifndef LINKED_H
#define LINKED_H

#include <stdint.h>

/* Written by every constructor, in order. */
extern uint32_t started;
extern _Thread_local uint32_t linked_tls;
/* Filled in by the loader: the address of a function of the library's own. */
extern uint32_t (*const linked_table[2])(uint32_t a, uint32_t b);

uint32_t linked_add(uint32_t a, uint32_t b);
uint32_t linked_call_back(uint32_t (*fn)(uint32_t), uint32_t arg);
uint32_t linked_next_tls(void);
void linked_panic(void);
/* The TA's, found by the library when it is loaded. */
uint32_t ta_triple(uint32_t n);

#endif
