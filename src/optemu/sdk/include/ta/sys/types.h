#ifndef SYS_TYPES_H
#define SYS_TYPES_H

#include <stddef.h>

typedef __INTPTR_TYPE__ ssize_t;

#endif
