#ifndef USER_TA_HEADER_DEFINES_H
#define USER_TA_HEADER_DEFINES_H

#include <probe_ta.h>

#ifdef __arm__
#define TA_UUID TA_PROBE_ARM_UUID
#else
#define TA_UUID TA_PROBE_UUID
#endif
#define TA_FLAGS TA_FLAG_CACHE_MAINTENANCE
#define TA_STACK_SIZE (8 * 1024)
#define TA_DATA_SIZE (64 * 1024)
#define TA_VERSION "2.1"
#define TA_DESCRIPTION "Probe of optemu's tests"

#define TA_CURRENT_TA_EXT_PROPERTIES                                                                                \
	{ "optemu.test.string", USER_TA_PROP_TYPE_STRING, "a string" },                                             \
	{ "optemu.test.u32", USER_TA_PROP_TYPE_U32, &(const uint32_t){ 0xCAFE } },                                  \
	{ "optemu.test.u64", USER_TA_PROP_TYPE_U64, &(const uint64_t){ 0x1122334455667788 } },                      \
	{ "optemu.test.bool", USER_TA_PROP_TYPE_BOOL, &(const bool){ true } },                                      \
	{ "optemu.test.uuid", USER_TA_PROP_TYPE_UUID, &(const TEE_UUID)TA_PROBE_UUID },                             \
	{ "optemu.test.identity", USER_TA_PROP_TYPE_IDENTITY, &(const TEE_Identity){ 5, TA_PROBE_UUID } },          \
	{ "optemu.test.binary", USER_TA_PROP_TYPE_BINARY_BLOCK, "AAECAwQF/w==" },

#endif
