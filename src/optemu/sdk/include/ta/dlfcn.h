/* Shared libraries opened while the TA runs. A library's name is its UUID; it stays until the TA goes. */
#ifndef DLFCN_H
#define DLFCN_H

#define RTLD_NOW 2
#define RTLD_GLOBAL 0x100
#define RTLD_NODELETE 0x1000

/* flags must be all three of the above. filename NULL stands for all that is loaded. NULL when it fails. */
void *dlopen(const char *filename, int flags);
int dlclose(void *handle);
/* Looks into the library first, then into all that is loaded. NULL when nobody defines symbol. */
void *dlsym(void *handle, const char *symbol);

#endif
