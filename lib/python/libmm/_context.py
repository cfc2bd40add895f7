"""Errors, handles and contexts: what every other part of the package stands on. SPDX-License-Identifier: MIT"""
from __future__ import annotations

import collections
import contextlib
import ctypes
import operator
import threading
import weakref
from typing import Any, Callable, Deque, Iterator, Optional

from . import _library as _c
from ._library import lib

LogFunction = Callable[[str, str], Any]
ProgressFunction = Callable[[str, int, int], Any]

_LEVELS = {_c.MM_LOG_ERROR: "error", _c.MM_LOG_WARNING: "warning", _c.MM_LOG_INFO: "info", _c.MM_LOG_DEBUG: "debug"}
CPU_LEVELS = ("reference", "avx2", "avx512", "amx")


class Error(Exception):
    """A call of libmm failed. The text is the library's sentence about the cause.

    status  the number, e.g. -21
    name    the constant's name, e.g. "MM_E_NOT_FOUND"
    """

    def __init__(self, status: int, sentence: str):
        self.status = status
        self.name: str = lib.mm_status_name(status).decode()
        super().__init__(f"{sentence} ({self.name})" if sentence else self.name)


class Handle:
    """Owns one pointer of the library: freed once, when this object goes, and not before the handles in `keep` may go."""

    __slots__ = ("pointer", "close", "__weakref__")

    def __init__(self, pointer: int, free: Callable[..., Any], *keep: Any):
        self.pointer = pointer
        self.close = weakref.finalize(self, _free, free, pointer, keep)


def _free(free: Callable[..., Any], pointer: int, keep: Any) -> None:
    free(pointer)


class _State:
    """The inside of a context, shared with all objects that hang on it and with no way back to them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.owner: Optional[int] = None  # the thread inside a call
        self.writer: Any = None           # the thread of the Stream that the call is, else None
        self.dead: Deque[Callable[[], Any]] = collections.deque()  # to be freed by the next holder of the lock
        self.raised: Optional[BaseException] = None  # by a callback

    def acquire(self, writer: Any = None) -> None:
        if not self.lock.acquire(blocking=False):
            if self.writer or self.owner == threading.get_ident():
                what = "a stream on this context is not finished; read it to its end or close it" if self.writer else \
                       "a callback may not call back into its own context"
                raise Error(_c.STATUS["MM_E_STATE"], what)
            self.lock.acquire()
        self.owner = threading.get_ident()
        self.writer = writer
        self.bury()

    def release(self) -> None:
        self.bury()
        self.owner = None
        self.writer = None
        self.lock.release()

    def bury(self) -> None:
        """Free what was dropped while the context was busy. For the holder of the lock."""
        with contextlib.suppress(IndexError):
            while True:
                self.dead.popleft()()

    def retire(self, free: Callable[[], Any]) -> None:
        """Free something that hangs on the context: now, or as soon as nobody is inside a call."""
        if self.lock.acquire(blocking=False):
            try:
                free()
            finally:
                self.lock.release()
        else:
            self.dead.append(free)


def _end_context(pointer: int, state: _State, callbacks: Any) -> None:
    state.bury()
    lib.mm_context_destroy(pointer)


class Context:
    """Owns threads, memory, messages and cancellation.

    threads       how many a call may use; default: the processors this process may run on
    memory_limit  bytes that may be allocated through the context at one time; 0 or None for no limit
    cpu           highest instruction set to use: "reference", "avx2", "avx512" or "amx"; default: what the processor has
    log           called with (level, text) for each message, level being "error", "warning", "info" or "debug"
    progress      called with (what, done, total) during long work (total 0: unknown); a true result cancels the call

    A context serves one thread at a time: calls of other threads wait. Make a context per thread to work in parallel; they
    may share models. An exception in a callback ends the call and comes out of it.
    """

    def __init__(self, *, threads: Optional[int] = None, memory_limit: Optional[int] = None, cpu: Optional[str] = None,
                 log: Optional[LogFunction] = None, progress: Optional[ProgressFunction] = None):
        pointer = ctypes.c_void_p()
        status = lib.mm_context_create(None, ctypes.byref(pointer))
        if status:
            raise Error(status, "the context could not be made")
        state = self._state = _State()
        self._log = log
        self._progress = progress
        weak = weakref.ref(self)  # the callbacks live as long as the mm_context: they must not keep this object

        def on_log(user: Any, level: int, text: bytes) -> None:
            try:
                context = weak()
                if context and context._log:
                    context._log(_LEVELS.get(level, str(level)), text.decode("utf-8", "replace"))
            except BaseException as e:  # may not pass through C: it comes out of the call
                state.raised = state.raised or e

        def on_progress(user: Any, what: bytes, done: int, total: int) -> int:
            try:
                if state.raised or (state.writer and state.writer.stopped):
                    return 1
                context = weak()
                return 1 if context and context._progress and context._progress(what.decode("utf-8", "replace"), done, total) else 0
            except BaseException as e:
                state.raised = state.raised or e
                return 1

        callbacks = _c.LOG_FN(on_log), _c.PROGRESS_FN(on_progress)
        assert pointer.value
        self._handle = _ContextHandle(pointer.value, state, callbacks)
        with self.call() as p:
            if log:
                self.check(lib.mm_context_set_log(p, callbacks[0], None))
            self.check(lib.mm_context_set_progress(p, callbacks[1], None))
            for option, value in ((_c.MM_CONTEXT_THREADS, threads), (_c.MM_CONTEXT_MEMORY_LIMIT, memory_limit)):
                if value is not None:
                    self.check(lib.mm_context_set_i64(p, option, checked(value, 64, "an option")))
            if cpu is not None:
                if cpu not in CPU_LEVELS:
                    raise ValueError(f"cpu is {cpu!r}, expected one of {', '.join(CPU_LEVELS)}")
                self.check(lib.mm_context_set_i64(p, _c.MM_CONTEXT_CPU_LEVEL, CPU_LEVELS.index(cpu)))

    @contextlib.contextmanager
    def call(self) -> Iterator[int]:
        """For this package: be inside a call on the context; gives its pointer."""
        self._state.acquire()
        try:
            yield self._handle.pointer
        finally:
            self._state.release()

    def check(self, status: int) -> None:
        """For this package: raise what a callback raised, or the failure that `status` tells. Inside call()."""
        raised, self._state.raised = self._state.raised, None
        if raised is not None:
            raise raised
        if status:
            raise Error(status, lib.mm_context_error(self._handle.pointer).decode("utf-8", "replace"))

    def make(self, free: Callable[..., Any], function: Callable[..., int], *arguments: Any) -> int:
        """For this package: the pointer that a function gives through its last argument, a `**out`. Inside call()."""
        out = ctypes.c_void_p()
        status = function(*arguments, ctypes.byref(out))
        try:
            self.check(status)
        except BaseException:
            if out.value:
                free(out.value)
            raise
        assert out.value
        return out.value

    def cancel(self) -> None:
        """Ask the running call to stop with MM_E_CANCELLED; with none running, the next that does work. From any thread."""
        lib.mm_context_cancel(self._handle.pointer)

    def _get(self, option: int) -> int:
        out = ctypes.c_int64()
        lib.mm_context_get_i64(self._handle.pointer, option, ctypes.byref(out))
        return out.value

    @property
    def threads(self) -> int:
        """Threads that a call may use."""
        return self._get(_c.MM_CONTEXT_THREADS)

    @property
    def memory_limit(self) -> int:
        """Bytes that may be allocated at one time, 0 for no limit."""
        return self._get(_c.MM_CONTEXT_MEMORY_LIMIT)

    @property
    def cpu(self) -> str:
        """The highest instruction set in use."""
        return CPU_LEVELS[self._get(_c.MM_CONTEXT_CPU_LEVEL)]

    @property
    def memory_used(self) -> int:
        """Bytes allocated now."""
        return self._get(_c.MM_CONTEXT_MEMORY_USED)

    @property
    def memory_peak(self) -> int:
        """The most bytes allocated so far."""
        return self._get(_c.MM_CONTEXT_MEMORY_PEAK)


class _ContextHandle:
    """Owns the mm_context. What hangs on the context keeps this object, and so is freed before it."""

    __slots__ = ("pointer", "state", "close", "__weakref__")

    def __init__(self, pointer: int, state: _State, callbacks: Any):
        self.pointer = pointer
        self.state = state
        self.close = weakref.finalize(self, _end_context, pointer, state, callbacks)


class HangingHandle:
    """Owns a pointer that must go before its context, and only while no call runs on the context."""

    __slots__ = ("pointer", "close", "__weakref__")

    def __init__(self, pointer: int, free: Callable[..., Any], context: Context, *keep: Any):
        self.pointer = pointer
        self.close = weakref.finalize(self, _retire, context._handle, free, pointer, keep)


def _retire(context: _ContextHandle, free: Callable[..., Any], pointer: int, keep: Any) -> None:
    context.state.retire(lambda: free(pointer))


_default: Optional[Context] = None
_default_lock = threading.Lock()


def default_context() -> Context:
    """The context of calls that were given none."""
    global _default
    with _default_lock:
        if _default is None:
            _default = Context()
        return _default


def checked(value: int, bits: int, what: str) -> int:
    """A number for an intN_t, which ctypes would cut silently."""
    value = operator.index(value)
    if not -2**(bits - 1) <= value < 2**(bits - 1):
        raise ValueError(f"{what} is {value}, which does not fit in {bits} bits")
    return value


def take_text(pointer: int, size: Optional[int] = None) -> str:
    """The text behind a `char **` result, which is freed."""
    try:
        return ctypes.string_at(pointer, -1 if size is None else size).decode("utf-8", "replace")
    finally:
        lib.mm_text_free(pointer)


def c_text(text: str, what: str) -> bytes:
    """UTF-8 for a `const char *`, which ends at its first NUL: so there may be none inside."""
    data = text.encode("utf-8")
    if b"\0" in data:
        raise ValueError(f"{what} holds a NUL character")
    return data
