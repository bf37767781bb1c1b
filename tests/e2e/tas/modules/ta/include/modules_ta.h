/*
 * modules: a TA of three parts, itself, a library it is linked with and one it opens. Each has a constructor, a
 * destructor and thread-local variables.
 */
#ifndef MODULES_TA_H
#define MODULES_TA_H

#define TA_MODULES_UUID \
	{ 0x4c9d1f3e, 0x6a52, 0x4d1b, { 0x8f, 0x0c, 0x2b, 0x7e, 0x5d, 0x91, 0x3a, 0x00 } }
#define LIB_LINKED_UUID \
	{ 0x4c9d1f3e, 0x6a52, 0x4d1b, { 0x8f, 0x0c, 0x2b, 0x7e, 0x5d, 0x91, 0x3a, 0x01 } }
#define LIB_OPENED_UUID \
	{ 0x4c9d1f3e, 0x6a52, 0x4d1b, { 0x8f, 0x0c, 0x2b, 0x7e, 0x5d, 0x91, 0x3a, 0x02 } }

/* p0 -> {order of construction, hexadecimal digits: 1 the TA, 2 linked, 3 opened library; modules known}. */
#define MODULES_CMD_STARTED 0
/* p0 {a, b} -> {a + b by the linked library, a call back from it into the TA}. */
#define MODULES_CMD_CALL 1
/*
 * p0 -> {the TA's two thread-local variables incremented and added, the library's}, p1 -> {the library's two by its own
 * function, its first one seen from the TA}.
 */
#define MODULES_CMD_TLS 2
/* p0 memref_in name of a library: dlopen. p1 -> {1 if it gave a handle}. */
#define MODULES_CMD_OPEN 3
/* p0 memref_in name of a function, p1 {an argument} -> {its result, 1 if found}. In the library opened last. */
#define MODULES_CMD_CALL_OPENED 4
/* p0 memref_out: text of dl_iterate_phdr, a line "name load-segments has-tls" for each module. */
#define MODULES_CMD_MODULES 5
/* Panics inside the linked library. */
#define MODULES_CMD_PANIC 6
/* p0 -> {a function's address in the TA, in the library}. */
#define MODULES_CMD_ADDRESSES 7

#endif
