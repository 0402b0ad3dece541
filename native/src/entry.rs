//! Where the VM calls us, and what we call in the VM that `rustler` has no safe name for.
//!
//! No decisions: whatever comes is handed to `nifs` or `edge`. This is the only file with `unsafe`:
//!
//! * [`nif_init`] is found by its name when the VM loads the library. `rustler::init!` would write it, but
//!   without an `upgrade`, and its resource types cannot be taken over: a module that is loaded anew would
//!   lose its edges.
//! * The resource of an edge: made, found in a term, monitored by, and freed through the calls of
//!   `erl_nif`. Its type has a name that is this mapping's alone (an address in it, and the library is never
//!   unmapped: `build.rs`), so an object made by another build is never looked into.
//! * What builds show each other ([`Shown`]), so that none takes the place of one whose edges run.
//! * [`term`] reads bytes that we wrote ourselves, so atoms that are new to the VM are ours, and few.
//!
//! A panic in a callback ends there: it would otherwise unwind into C, which aborts the VM.
#![expect(unsafe_code, reason = "the VM speaks C; see the header")]

use std::ffi::{CString, c_int, c_void};
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use rustler::codegen_runtime::inventory;
use rustler::sys::{
    ErlNifEntry, ErlNifEnv, ErlNifFunc, ErlNifMonitor, ErlNifPid, ErlNifResourceDown,
    ErlNifResourceDtor, ErlNifResourceFlags, ErlNifResourceType, ErlNifResourceTypeInit,
    ErlNifTerm, enif_alloc_resource, enif_demonitor_process, enif_get_resource, enif_make_resource,
    enif_monitor_process, enif_open_resource_type_x, enif_release_resource, internal_write_symbols,
};
use rustler::{Decoder, Encoder, Env, Error, LocalPid, NifResult, Term};

use crate::edge::{self, Edge};
use crate::log;

/// Found by its name when the library is loaded.
#[unsafe(no_mangle)]
extern "C" fn nif_init() -> *const ErlNifEntry {
    /// Read by the VM alone, and never written again.
    struct Entry(ErlNifEntry);
    // Safety: the pointers in it are to constants and to functions that stay where they are.
    unsafe impl Sync for Entry {}
    unsafe impl Send for Entry {}
    static ENTRY: OnceLock<Entry> = OnceLock::new();
    // Safety: as in `rustler::init!`; looks symbols of the VM up where the linker does not.
    unsafe { internal_write_symbols() };
    let entry = ENTRY.get_or_init(|| {
        let functions = inventory::iter::<rustler::Nif>();
        let functions: Vec<ErlNifFunc> = functions.map(rustler::Nif::get_def).collect();
        // The VM keeps the pointer.
        let mut entry = ErlNifEntry::new(c"lariat_nif", functions.leak(), load);
        entry.upgrade = Some(upgrade);
        Entry(entry)
    });
    &raw const entry.0
}

/// What every build of this library shows the one that is to take its place. Its layout is for ever.
#[repr(C)]
struct Shown {
    /// That it is this.
    mark: [u8; 8],
    running: &'static AtomicUsize,
}

static SHOWN: Shown = Shown {
    mark: *b"lariat 1",
    running: &edge::RUNNING,
};

unsafe extern "C" fn load(env: *mut ErlNifEnv, data: *mut *mut c_void, _: ErlNifTerm) -> c_int {
    // Safety: the VM keeps what is written there for `upgrade`.
    unsafe { data.write((&raw const SHOWN).cast_mut().cast()) };
    c_int::from(!set_up(env))
}

/// Not while edges of another build run: nobody could reach them through this one.
unsafe extern "C" fn upgrade(
    env: *mut ErlNifEnv,
    data: *mut *mut c_void,
    old_data: *mut *mut c_void,
    none: ErlNifTerm,
) -> c_int {
    // Safety: what `load` of some build has written, or null; that build stays mapped. Only its mark is
    // looked at before it is known to be what we think.
    let is_left_alone = unsafe {
        let before: *const Shown = old_data.read().cast_const().cast();
        before.is_null()
            || ptr::eq(before, &raw const SHOWN)
            || (&raw const (*before).mark).read() != SHOWN.mark
            || (*before).running.load(Ordering::Acquire) == 0
    };
    if !is_left_alone {
        return 1;
    }
    // Safety: as the VM has called us.
    unsafe { load(env, data, none) }
}

/// The type of all edges' resources; null before the library is loaded.
static TYPE: AtomicPtr<ErlNifResourceType> = AtomicPtr::new(ptr::null_mut());

/// Whether the library can be used now.
fn set_up(env: *mut ErlNifEnv) -> bool {
    let set_up = || {
        let own_address = (&raw const TYPE).addr();
        let name = format!("lariat_edge {} {own_address:x}", env!("CARGO_PKG_VERSION"));
        let name = CString::new(name).expect("there is no zero in it");
        let calls = ErlNifResourceTypeInit {
            dtor: collected as *const ErlNifResourceDtor,
            stop: ptr::null(),
            down: down as *const ErlNifResourceDown,
        };
        // As the module is loaded anew, the type is there: its edges are ours from now on.
        for flag in [
            ErlNifResourceFlags::ERL_NIF_RT_TAKEOVER,
            ErlNifResourceFlags::ERL_NIF_RT_CREATE,
        ] {
            let mut tried = MaybeUninit::uninit();
            // Safety: called while the library is loaded, as it must be; all pointers are to what lives
            // until it returns.
            let found = unsafe {
                enif_open_resource_type_x(env, name.as_ptr(), &calls, flag, tried.as_mut_ptr())
            };
            if !found.is_null() {
                TYPE.store(found.cast_mut(), Ordering::Release);
                log::start();
                return true;
            }
        }
        false
    };
    catch_unwind(set_up).unwrap_or(false)
}

/// What a resource of ours holds.
struct Held {
    edge: Arc<Edge>,
}

/// An edge in a term of the caller's: the resource lives as long as its environment.
#[derive(Clone, Copy)]
pub(crate) struct Handle<'a> {
    edge: &'a Arc<Edge>,
    object: *const c_void,
}

impl<'a> Handle<'a> {
    pub(crate) fn edge(self) -> &'a Arc<Edge> {
        self.edge
    }

    /// Has [`Edge::down`] called when this process ends. `None`: there is no such process.
    pub(crate) fn monitor(self, env: Env<'_>, pid: LocalPid) -> Option<Monitor> {
        monitor(env, self.object, pid)
    }

    pub(crate) fn demonitor(self, env: Env<'_>, monitor: &Monitor) {
        // Safety: the object is alive; a process that has ended meanwhile is an answer like others.
        let _ =
            unsafe { enif_demonitor_process(env.as_c_arg(), self.object, &raw const monitor.0) };
    }
}

impl<'a> Decoder<'a> for Handle<'a> {
    fn decode(term: Term<'a>) -> NifResult<Self> {
        let wanted = TYPE.load(Ordering::Acquire);
        let mut object = MaybeUninit::<*const c_void>::uninit();
        // Safety: `wanted` is a type of ours while a module of ours is loaded, and one of its functions
        // is running; `object` is written when the answer is not 0.
        let object = unsafe {
            let env = term.get_env().as_c_arg();
            match enif_get_resource(env, term.as_c_arg(), wanted, object.as_mut_ptr()) {
                0 => return Err(Error::BadArg),
                _ => object.assume_init(),
            }
        };
        // Safety: objects of this type are written by `resource` before anybody has them, and only ever
        // read then; the term keeps this one alive.
        let held = unsafe { &*aligned(object) };
        Ok(Handle {
            edge: &held.edge,
            object,
        })
    }
}

/// What undoes [`Handle::monitor`].
pub(crate) struct Monitor(ErlNifMonitor);

/// The term that is this edge from now on. The owner's end and the end of the last such term stop it.
/// `None`: the owner has ended.
pub(crate) fn resource<'a>(env: Env<'a>, edge: &Arc<Edge>, owner: LocalPid) -> Option<Term<'a>> {
    let wanted = TYPE.load(Ordering::Acquire);
    let size = size_of::<Held>() + align_of::<Held>();
    // Safety: as for `Handle`; the object is ours alone until it is in a term.
    let object = unsafe {
        let object = enif_alloc_resource(wanted, size);
        let edge = Arc::clone(edge);
        ptr::write(aligned(object).cast_mut(), Held { edge });
        object
    };
    let monitored = monitor(env, object, owner).is_some();
    // Safety: the term has a reference of its own, the one of `enif_alloc_resource` is given back.
    let term = unsafe {
        let term = Term::new(env, enif_make_resource(env.as_c_arg(), object));
        enif_release_resource(object);
        term
    };
    monitored.then_some(term)
}

fn monitor(env: Env<'_>, object: *const c_void, pid: LocalPid) -> Option<Monitor> {
    let mut monitor = MaybeUninit::uninit();
    // Safety: the object is alive, and the environment that of the calling process.
    let failed = unsafe {
        enif_monitor_process(env.as_c_arg(), object, pid.as_c_arg(), monitor.as_mut_ptr())
    };
    // Safety: written when there was no failure.
    (failed == 0).then(|| Monitor(unsafe { monitor.assume_init() }))
}

/// Where in an object's memory the value is: the VM promises no alignment.
fn aligned(object: *const c_void) -> *const Held {
    let offset = object.align_offset(align_of::<Held>());
    object.wrapping_byte_add(offset).cast()
}

/// The last term with this object is gone: drops what it holds, which stops the edge.
unsafe extern "C" fn collected(_env: *mut ErlNifEnv, object: *mut c_void) {
    // Safety: the VM calls this once, when nobody can reach the object any more.
    let held = unsafe { ptr::read(aligned(object)) };
    let _ = catch_unwind(AssertUnwindSafe(|| {
        held.edge.stop(None);
        drop(held);
    }));
}

/// A monitored process has ended.
unsafe extern "C" fn down(
    _env: *mut ErlNifEnv,
    object: *mut c_void,
    pid: *const ErlNifPid,
    _monitor: *const ErlNifMonitor,
) {
    // Safety: the VM keeps object and pid alive during the call.
    let (held, pid) = unsafe { (&*aligned(object), LocalPid::from_c_arg(*pid)) };
    let _ = catch_unwind(AssertUnwindSafe(|| held.edge.down(pid)));
}

/// The term that these bytes are, version byte included: ours, or what came from the VM as a term.
/// `None` when they are none, which would be an error of ours.
pub(crate) fn term<'a>(env: Env<'a>, bytes: &[u8]) -> Option<Term<'a>> {
    // Safety: "trusted" is about what a stranger's bytes would do to the tables of the VM. In ours, what
    // clients said is binaries, and atoms are words of the vocabulary or came from this VM.
    let (term, _) = unsafe { env.binary_to_term_trusted(bytes) }?;
    Some(term.encode(env))
}
