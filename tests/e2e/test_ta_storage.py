"""Persistent objects as a TA sees them, through its library, AArch64 and Arm32."""

from uuid import UUID

import pytest
from crypt_client import ObjectInfo, Panicked, Tee, TeeResult

from optemu.abi import cryp, gp
from optemu.abi.obj import (
    TEE_DATA_FLAG_ACCESS_READ,
    TEE_DATA_FLAG_ACCESS_WRITE,
    TEE_DATA_FLAG_ACCESS_WRITE_META,
    TEE_DATA_FLAG_OVERWRITE,
    TEE_DATA_FLAG_SHARE_READ,
    TEE_DATA_FLAG_SHARE_WRITE,
    TEE_DATA_SEEK_CUR,
    TEE_DATA_SEEK_END,
    TEE_DATA_SEEK_SET,
    TEE_HANDLE_FLAG_INITIALIZED,
    TEE_HANDLE_FLAG_PERSISTENT,
    TEE_STORAGE_PRIVATE,
)
from optemu.normal_world.libteec import Context

ALL = TEE_DATA_FLAG_ACCESS_READ | TEE_DATA_FLAG_ACCESS_WRITE | TEE_DATA_FLAG_ACCESS_WRITE_META
SHARED = TEE_DATA_FLAG_SHARE_READ | TEE_DATA_FLAG_SHARE_WRITE


def create(tee: Tee, name: bytes, data: bytes = b"", flags: int = ALL, attributes: int = 0) -> int:
    return tee.TEE_CreatePersistentObject(TEE_STORAGE_PRIVATE, name, flags, attributes, data)


def names(tee: Tee) -> dict[bytes, ObjectInfo]:
    enumerator = tee.TEE_AllocatePersistentObjectEnumerator()
    found: dict[bytes, ObjectInfo] = {}
    try:
        tee.TEE_StartPersistentObjectEnumerator(enumerator, TEE_STORAGE_PRIVATE)
        while True:
            info, name = tee.TEE_GetNextPersistentObject(enumerator)
            found[name] = info
    except TeeResult as e:
        assert e.code == gp.TEE_ERROR_ITEM_NOT_FOUND
    tee.TEE_FreePersistentObjectEnumerator(enumerator)
    return found


def test_data_is_written_read_and_sought(tee: Tee) -> None:
    obj = create(tee, b"data", b"0123456789")
    assert tee.TEE_ReadObjectData(obj, 4) == b"0123"
    tee.TEE_WriteObjectData(obj, b"abc")
    tee.TEE_SeekObjectData(obj, -4, TEE_DATA_SEEK_CUR)
    assert tee.TEE_ReadObjectData(obj, 100) == b"3abc789"
    assert tee.TEE_ReadObjectData(obj, 1) == b""
    tee.TEE_TruncateObjectData(obj, 5)
    tee.TEE_SeekObjectData(obj, 0, TEE_DATA_SEEK_SET)
    assert tee.TEE_ReadObjectData(obj, 100) == b"0123a"
    tee.TEE_SeekObjectData(obj, 3, TEE_DATA_SEEK_END)
    tee.TEE_WriteObjectData(obj, b"z")
    tee.TEE_SeekObjectData(obj, -100, TEE_DATA_SEEK_CUR)
    assert tee.TEE_ReadObjectData(obj, 100) == b"0123a\0\0\0z"
    info = tee.TEE_GetObjectInfo1(obj)
    assert (info.type, info.data_size, info.data_position) == (cryp.TEE_TYPE_DATA, 9, 9)
    assert info.flags & TEE_HANDLE_FLAG_PERSISTENT


@pytest.mark.parametrize(
    ("start", "offset", "whence"),
    [(0, 2**32, TEE_DATA_SEEK_SET), (2, 2**32 - 1, TEE_DATA_SEEK_CUR), (0, 2**32 - 2, TEE_DATA_SEEK_END)],
)
def test_seeking_too_far(tee: Tee, start: int, offset: int, whence: int) -> None:
    obj = create(tee, b"far", b"abc")
    tee.TEE_SeekObjectData(obj, start, TEE_DATA_SEEK_SET)
    with pytest.raises(TeeResult) as caught:
        tee.TEE_SeekObjectData(obj, offset, whence)
    assert caught.value.code == gp.TEE_ERROR_OVERFLOW
    assert tee.TEE_GetObjectInfo1(obj).data_position == start


def test_offsets_of_more_than_31_bits(tee: Tee) -> None:
    obj = create(tee, b"wide", b"abc")
    for offset, whence, position in (
        (2**32 - 1, TEE_DATA_SEEK_SET, 2**32 - 1),
        (-(2**32) + 6, TEE_DATA_SEEK_CUR, 5),
        (2**32 - 6, TEE_DATA_SEEK_CUR, 2**32 - 1),
        (-(2**62), TEE_DATA_SEEK_END, 0),
    ):
        tee.TEE_SeekObjectData(obj, offset, whence)
        assert tee.TEE_GetObjectInfo1(obj).data_position == position


def test_a_key_is_kept_with_its_data(tee: Tee, context: Context, crypt_uuid: UUID) -> None:
    key = tee.TEE_AllocateTransientObject(cryp.TEE_TYPE_AES, 256)
    tee.TEE_GenerateKey(key, 256)
    secret = tee.TEE_GetObjectBufferAttribute(key, cryp.TEE_ATTR_SECRET_VALUE)
    tee.TEE_CloseObject(create(tee, b"key", b"notes", attributes=key))
    with context.OpenSession(crypt_uuid) as session:
        other = Tee(session)
        obj = other.TEE_OpenPersistentObject(TEE_STORAGE_PRIVATE, b"key", TEE_DATA_FLAG_ACCESS_READ)
        info = other.TEE_GetObjectInfo1(obj)
        assert (info.type, info.size, info.data_size) == (cryp.TEE_TYPE_AES, 256, 5)
        assert info.flags & TEE_HANDLE_FLAG_INITIALIZED
        assert other.TEE_GetObjectBufferAttribute(obj, cryp.TEE_ATTR_SECRET_VALUE) == secret
        assert other.TEE_ReadObjectData(obj, 10) == b"notes"
        copy = other.TEE_AllocateTransientObject(cryp.TEE_TYPE_AES, 256)
        other.TEE_CopyObjectAttributes1(copy, obj)
        assert other.TEE_GetObjectBufferAttribute(copy, cryp.TEE_ATTR_SECRET_VALUE) == secret


def test_what_is_listed_is_as_it_is_now(tee: Tee) -> None:
    """What objects were when they were listed before, or opened, is remembered: it must not be told of what they are."""
    key = tee.TEE_AllocateTransientObject(cryp.TEE_TYPE_AES, 256)
    tee.TEE_GenerateKey(key, 128)
    handles = {b"data": create(tee, b"data", b"12345"), b"key": create(tee, b"key", b"notes", attributes=key)}
    changes = [
        lambda: None,
        lambda: tee.TEE_WriteObjectData(handles[b"data"], b"longer than it was"),
        lambda: tee.TEE_TruncateObjectData(handles[b"key"], 3),
        lambda: tee.TEE_RestrictObjectUsage1(handles[b"key"], cryp.TEE_USAGE_ENCRYPT),
        lambda: tee.TEE_TruncateObjectData(handles[b"data"], 5),
        lambda: tee.TEE_RenamePersistentObject(handles[b"data"], b"renamed"),
    ]
    for change in changes:
        change()
        for _ in range(2):
            listed = names(tee)
            told = [tee.TEE_GetObjectInfo1(obj) for obj in handles.values()]
            assert sorted(_described(info) for info in listed.values()) == sorted(_described(info) for info in told)
    assert set(listed) == {b"renamed", b"key"}
    tee.TEE_CloseObject(handles.pop(b"data"))
    tee.TEE_CloseObject(create(tee, b"renamed", b"in its place", ALL | TEE_DATA_FLAG_OVERWRITE))
    assert names(tee)[b"renamed"].data_size == len(b"in its place")


def _described(info: ObjectInfo) -> tuple[int, ...]:
    return info.type, info.size, info.max_size, info.usage, info.data_size


def test_names_listed_changed_and_gone(tee: Tee) -> None:
    handles = {name: create(tee, name, name * 3, ALL) for name in (b"one", b"two", b"\0\xff/..", b"x" * 64)}
    assert {n: i.data_size for n, i in names(tee).items()} == {n: 3 * len(n) for n in handles}
    tee.TEE_RenamePersistentObject(handles[b"one"], b"three")
    with pytest.raises(TeeResult) as caught:
        tee.TEE_RenamePersistentObject(handles[b"two"], b"three")
    assert caught.value.code == gp.TEE_ERROR_ACCESS_CONFLICT
    assert names(tee).keys() == handles.keys() - {b"one"} | {b"three"}
    for handle in handles.values():
        tee.TEE_CloseAndDeletePersistentObject1(handle)
    assert not names(tee)


def test_enumerators_begin_anew(tee: Tee) -> None:
    tee.TEE_CloseObject(create(tee, b"only"))
    enumerator = tee.TEE_AllocatePersistentObjectEnumerator()
    for _ in range(2):
        tee.TEE_StartPersistentObjectEnumerator(enumerator, TEE_STORAGE_PRIVATE)
        assert tee.TEE_GetNextPersistentObject(enumerator)[1] == b"only"
    tee.TEE_ResetPersistentObjectEnumerator(enumerator)
    with pytest.raises(TeeResult) as caught:
        tee.TEE_GetNextPersistentObject(enumerator)
    assert caught.value.code == gp.TEE_ERROR_ITEM_NOT_FOUND


def test_what_is_open_is_shared_only_by_consent(tee: Tee, context: Context, crypt_uuid: UUID) -> None:
    alone = create(tee, b"alone")
    with_all = create(tee, b"with all", flags=ALL & ~TEE_DATA_FLAG_ACCESS_WRITE_META | SHARED)
    with context.OpenSession(crypt_uuid) as session:
        other = Tee(session)
        with pytest.raises(TeeResult) as caught:
            other.TEE_OpenPersistentObject(TEE_STORAGE_PRIVATE, b"alone", TEE_DATA_FLAG_ACCESS_READ)
        assert caught.value.code == gp.TEE_ERROR_ACCESS_CONFLICT
        tee.TEE_WriteObjectData(with_all, b"news")
        shared = other.TEE_OpenPersistentObject(TEE_STORAGE_PRIVATE, b"with all", TEE_DATA_FLAG_ACCESS_READ | SHARED)
        assert other.TEE_ReadObjectData(shared, 4) == b"news"
        tee.TEE_CloseObject(alone)
        other.TEE_OpenPersistentObject(TEE_STORAGE_PRIVATE, b"alone", TEE_DATA_FLAG_ACCESS_READ)


def test_creating_what_exists(tee: Tee) -> None:
    tee.TEE_CloseObject(create(tee, b"there", b"old"))
    with pytest.raises(TeeResult) as caught:
        create(tee, b"there", b"new")
    assert caught.value.code == gp.TEE_ERROR_ACCESS_CONFLICT
    assert tee.TEE_ReadObjectData(create(tee, b"there", b"new", ALL | TEE_DATA_FLAG_OVERWRITE), 9) == b"new"


def test_creating_without_a_handle(tee: Tee) -> None:
    assert tee.TEE_CreatePersistentObject(TEE_STORAGE_PRIVATE, b"quick", ALL, data=b"done", handle=False) == 0
    obj = tee.TEE_OpenPersistentObject(TEE_STORAGE_PRIVATE, b"quick", TEE_DATA_FLAG_ACCESS_READ)
    assert tee.TEE_ReadObjectData(obj, 9) == b"done"


def test_opening_what_is_not_there(tee: Tee) -> None:
    for storage, name in ((TEE_STORAGE_PRIVATE, b"nothing"), (0x1234, b"nowhere")):
        with pytest.raises(TeeResult) as caught:
            tee.TEE_OpenPersistentObject(storage, name, TEE_DATA_FLAG_ACCESS_READ)
        assert caught.value.code == gp.TEE_ERROR_ITEM_NOT_FOUND


def misuse_read(tee: Tee) -> None:
    tee.TEE_ReadObjectData(create(tee, b"blind", b"abc", flags=TEE_DATA_FLAG_ACCESS_WRITE), 1)


def misuse_write(tee: Tee) -> None:
    tee.TEE_WriteObjectData(create(tee, b"fixed", flags=TEE_DATA_FLAG_ACCESS_READ), b"abc")


def misuse_long_name(tee: Tee) -> None:
    create(tee, b"x" * 65)


def misuse_flags(tee: Tee) -> None:
    create(tee, b"flags", flags=0x40)


def misuse_whence(tee: Tee) -> None:
    tee.TEE_SeekObjectData(create(tee, b"whence"), 0, 3)


def misuse_null(tee: Tee) -> None:
    tee.TEE_ReadObjectData(0, 1)


def misuse_transient(tee: Tee) -> None:
    tee.TEE_CloseAndDeletePersistentObject1(tee.TEE_AllocateTransientObject(cryp.TEE_TYPE_AES, 128))


def misuse_free_persistent(tee: Tee) -> None:
    tee.TEE_FreeTransientObject(create(tee, b"free"))


def misuse_delete_without_right(tee: Tee) -> None:
    tee.TEE_CloseAndDeletePersistentObject1(create(tee, b"keep", flags=TEE_DATA_FLAG_ACCESS_READ))


def misuse_enumerator(tee: Tee) -> None:
    tee.TEE_StartPersistentObjectEnumerator(0x5555, TEE_STORAGE_PRIVATE)


@pytest.mark.parametrize("misuse", [v for k, v in list(globals().items()) if k.startswith("misuse_")])
def test_misuse_is_a_panic(tee: Tee, misuse: object) -> None:
    assert callable(misuse)
    with pytest.raises(Panicked):
        misuse(tee)
