/* Internal Core API: symmetric ciphers, and the buffering of what makes no whole block. */
#include <string.h>
#include <utee_syscalls.h>

#include "runtime.h"

size_t __utee_ready(TEE_OperationHandle op, size_t len)
{
	const size_t block = op->alg->block_size;
	size_t total = 0;

	panic_unless(!ADD_OVERFLOW(op->buffered, len, &total), TEE_ERROR_BAD_PARAMETERS);
	if (!block)
		return total;
	if (!(op->alg->flags & ALG_TWO_BLOCKS))
		return ROUNDDOWN(total, block);
	return total > 2 * block ? ROUNDUP(total - 2 * block, block) : 0;
}

static size_t feed(TEE_OperationHandle op, utee_update_func *update, const void *src, size_t len, void *dst,
		   size_t room)
{
	uint64_t written = room;
	TEE_Result res = len ? update(op->state, src, len, dst, &written) : TEE_SUCCESS;

	panic_unless(!res, res);
	return len ? (size_t)written : 0;
}

/* Input on its way; both ends move. */
struct stream {
	const uint8_t *src;
	size_t src_len;
	uint8_t *dst;
	size_t room;
};

static void keep(TEE_OperationHandle op, struct stream *s, size_t len)
{
	memcpy(op->buffer + op->buffered, s->src, len);
	op->buffered += len;
	s->src += len;
	s->src_len -= len;
}

/*
 * Sends len bytes of what is buffered, after refilling it to refill bytes: output that starts where the input does is
 * ahead of it by what there was in the buffer, and would overwrite that much of what is still to be read.
 */
static void feed_buffered(TEE_OperationHandle op, utee_update_func *update, struct stream *s, size_t len,
			  size_t refill)
{
	uint8_t blocks[2 * UTEE_MAX_BLOCK];
	size_t written = 0;

	memcpy(blocks, op->buffer, len);
	op->buffered -= len;
	memmove(op->buffer, op->buffer + len, op->buffered);
	if (refill > op->buffered)
		keep(op, s, MIN(refill - op->buffered, s->src_len));
	written = feed(op, update, blocks, len, s->dst, s->room);
	s->dst += written;
	s->room -= written;
}

size_t __utee_buffered_update(TEE_OperationHandle op, utee_update_func *update, const void *src, size_t src_len,
			      void *dst, size_t room)
{
	struct stream s = { src, src_len, dst, room };
	size_t todo = __utee_ready(op, src_len);

	while (todo && op->buffered) {
		size_t before = op->buffered;
		size_t len = MIN(ROUNDUP(before, op->alg->block_size), todo);

		if (len > before)
			keep(op, &s, len - before);
		feed_buffered(op, update, &s, len, src == dst ? before : 0);
		todo -= len;
	}
	s.room -= feed(op, update, s.src, todo, s.dst, s.room);
	s.src += todo;
	s.src_len -= todo;
	keep(op, &s, s.src_len);
	return room - s.room;
}

void TEE_CipherInit(TEE_OperationHandle operation, const void *IV, size_t IVLen)
{
	TEE_Result res = TEE_SUCCESS;

	__utee_check_class(operation, TEE_OPERATION_CIPHER, 0);
	panic_unless(operation->info.handleState & TEE_HANDLE_FLAG_KEY_SET, 0);
	if (operation->operationState != TEE_OPERATION_STATE_INITIAL)
		TEE_ResetOperation(operation);
	panic_unless(!(operation->alg->flags & ALG_NO_IV) || !IV || !IVLen, 0);
	operation->operationState = TEE_OPERATION_STATE_ACTIVE;
	res = _utee_cipher_init(operation->state, IV, IVLen);
	panic_unless(!res, res);
	operation->buffered = 0;
	operation->info.handleState |= TEE_HANDLE_FLAG_INITIALIZED;
}

TEE_Result TEE_CipherUpdate(TEE_OperationHandle operation, const void *srcData, size_t srcLen, void *destData,
			    size_t *destLen)
{
	size_t needed = 0;

	panic_unless(operation != TEE_HANDLE_NULL && (srcData || !srcLen), TEE_ERROR_BAD_PARAMETERS);
	__utee_check_inout(destLen);
	__utee_check_active(operation, TEE_OPERATION_CIPHER, TEE_ERROR_BAD_PARAMETERS);
	/* Nothing is sent before there is room for all of the output: there would be no way back. */
	needed = srcData ? __utee_ready(operation, srcLen) : 0;
	if (*destLen < needed) {
		*destLen = needed;
		return TEE_ERROR_SHORT_BUFFER;
	}
	*destLen = __utee_buffered_update(operation, _utee_cipher_update, srcData, srcLen, destData, *destLen);
	return TEE_SUCCESS;
}

TEE_Result TEE_CipherDoFinal(TEE_OperationHandle operation, const void *srcData, size_t srcLen, void *destData,
			     size_t *destLen)
{
	const struct algorithm *alg = NULL;
	size_t room = 0;
	size_t needed = 0;
	size_t written = 0;
	uint64_t last = 0;
	TEE_Result res = TEE_SUCCESS;

	panic_unless(operation != TEE_HANDLE_NULL && (srcData || !srcLen), TEE_ERROR_BAD_PARAMETERS);
	if (destLen)
		__utee_check_inout(destLen);
	__utee_check_active(operation, TEE_OPERATION_CIPHER, TEE_ERROR_BAD_PARAMETERS);
	alg = operation->alg;
	room = destLen ? *destLen : 0;
	panic_unless(!ADD_OVERFLOW(operation->buffered, srcLen, &needed), TEE_ERROR_BAD_PARAMETERS);
	panic_unless(!(alg->flags & ALG_WHOLE_BLOCKS) || IS_ALIGNED(needed, alg->block_size), TEE_ERROR_BAD_PARAMETERS);
	if (room < needed) {
		if (destLen)
			*destLen = needed;
		return TEE_ERROR_SHORT_BUFFER;
	}
	if (alg->block_size) {
		written = __utee_buffered_update(operation, _utee_cipher_update, srcData, srcLen, destData, room);
		srcData = operation->buffer;
		srcLen = operation->buffered;
	}
	last = room - written;
	res = _utee_cipher_final(operation->state, srcData, srcLen, (uint8_t *)destData + written, &last);
	panic_unless(!res, res);
	if (destLen)
		*destLen = written + (size_t)last;
	__utee_operation_done(operation);
	return TEE_SUCCESS;
}
