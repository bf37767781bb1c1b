/* Only for ssize_t: a TA has no POSIX below it. */
#ifndef UNISTD_H
#define UNISTD_H

#include <sys/types.h>

#endif
