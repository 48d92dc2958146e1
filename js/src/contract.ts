/**
 * The contract between a host and the portable modules: every import and export with its type, the status bits and the error numbers.
 * docs/contract.md says what they mean and in which order they are called.
 *
 * Numbers that cross the contract are WebAssembly's i32, so that JavaScript sees addresses and lengths from 2 GiB on as negative:
 * take them with `>>> 0`. Results below zero are negated error numbers.
 */

/** The version of the contract that this host speaks; modules tell theirs through `pgcell_contract_version()`. */
export const CONTRACT_VERSION = 1;

/** The bits of a status that is not negative. 0: idle, everything that was given has been run and its output taken. */
export const Status = {
  /** The input ended within a message; the rest may follow in the next call. */
  INCOMPLETE: 1,
  /** There is output that the transport did not take. */
  OUTPUT: 2,
  /** The session is over (Terminate, a FATAL error): the next one begins with `pgl_backend()`. */
  ENDED: 4,
} as const;

const ERRNO_TABLE = [
  [10, 'EBUSY', 'the guest was called from inside itself'],
  [28, 'EINVAL', 'the guest refused an argument, or a call out of turn'],
  [29, 'EIO', 'the checkpoint of the shutdown failed; the log says why'],
  [48, 'ENOMEM', "the message does not fit into the guest's memory"],
  [53, 'ENOTCONN', 'there is no session: none was begun, no transport was set, or the guest was shut down'],
  [56, 'ENOTRECOVERABLE', 'the instance is dead'],
  [64, 'EPIPE', 'the other side has closed the connection'],
  [65, 'EPROTO', 'the transport gave an answer that breaks the contract'],
] as const;

export type ErrnoName = (typeof ERRNO_TABLE)[number][1];

/** The error numbers of the contract (those of WASI preview 1), by name; positive. */
export const Errno = Object.freeze(Object.fromEntries(ERRNO_TABLE.map(([number, name]) => [name, number]))) as {
  readonly [name in ErrnoName]: number;
};

/** What the guest refused: `errno` is positive, `code` its name (`EPROTO`) or `E` and the number when the contract has no such number. */
export class GuestError extends Error {
  override readonly name = 'GuestError';
  readonly errno: number;
  readonly code: string;

  constructor(errno: number, context: string, options?: ErrorOptions) {
    const row = ERRNO_TABLE.find(([number]) => number === errno);
    super(`${context}: ${row ? row[2] : `error ${errno}`}`, options);
    this.errno = errno;
    this.code = row ? row[1] : `E${errno}`;
  }
}

/** A module that does not keep the contract: another version, or an export that is missing. */
export class ContractError extends Error {
  override readonly name = 'ContractError';
}

/** What `build/pgcell.wasm` imports from `env`. Neither may throw: an exception would pass through the guest's frames. */
export interface TransportImports {
  /**
   * Copies at most `maxLength` bytes of input to the address `ptr`. How many; 0 when nothing is left for now; -EPIPE when the client
   * has ended the connection in good order.
   */
  readonly pglite_js_read: (ptr: number, maxLength: number) => number;
  /** Takes at most `length` bytes from the address `ptr`. How many; 0 when none can be taken for now; -EPIPE when the client is gone. */
  readonly pglite_js_write: (ptr: number, length: number) => number;
}

/** What `build/pgcell-trampoline.wasm` imports from `env`; it exports the same functions, so that they can stand in a table. */
export interface TrampolineImports {
  readonly read: TransportImports['pglite_js_read'];
  readonly write: TransportImports['pglite_js_write'];
}

/** What every module exports. */
export interface GuestExports {
  readonly memory: WebAssembly.Memory;
  /** Does nothing; WASI hosts may call it once. */
  readonly _initialize: () => void;
  readonly pgcell_contract_version: () => number;
  /** 1: the cluster is there. */
  readonly pgl_initdb: () => number;
  /** Begins a new session, drops what is left of an earlier one, and runs what is available. A status. */
  readonly pgl_backend: () => number;
  /**
   * Runs every complete message that is available and sends what is owed. `length`: how many bytes the host has made available, and
   * `firstByte`: the first of them, -1 for unknown; both are hints, but a negative length is refused. A status.
   */
  readonly interactive_one: (length: number, firstByte: number) => number;
  /** Offers queued output to the transport again. A status. */
  readonly pgcell_flush: () => number;
  /** Bytes that are missing of the message that has begun, 0 when none has. */
  readonly pgcell_input_wanted: () => number;
  /** Bytes of output that the transport has not taken yet. */
  readonly pgcell_output_pending: () => number;
  /** Drops queued input. */
  readonly pgcell_discard_input: () => void;
  /** Ends the session and writes a shutdown checkpoint. 0, or a negated error number. Nothing can be run afterwards. */
  readonly pgl_shutdown: () => number;
  /**
   * Memory beyond `bytes` (unsigned, rounded down to 64 KiB) is not asked of the engine: PostgreSQL reports that it is out of memory.
   * 0 takes the limit away. 0, or -EINVAL when the memory is larger already.
   */
  readonly pgcell_set_memory_limit: (bytes: number) => number;
  /** Address of the word whose bit N stands for signal N. */
  readonly pgcell_signal_address: () => number;
  /** Address of the word that is set to 1 after a bit was set in the other. */
  readonly pgcell_interrupt_address: () => number;
}

/** What the polling module exports beside `GuestExports`. */
export interface PollingExports extends GuestExports {
  /** Address of the input buffer: u32 status, u32 length, data. Fixed as long as the instance lives, as are the next two. */
  readonly pglite_get_input_buffer: () => number;
  /** Address of the output buffer, which looks the same. */
  readonly pglite_get_output_buffer: () => number;
  /** Address of the control block, see `ControlField`. */
  readonly pglite_get_control: () => number;
  /** Bytes of data that each buffer holds. */
  readonly pglite_get_buffer_size: () => number;
  /** The host has put `length` bytes into the input buffer. How many the guest took, or -EINVAL, -ENOMEM (nothing was taken). */
  readonly pglite_signal_input_ready: (length: number) => number;
  /** 1 when the output buffer is the host's turn. */
  readonly pglite_has_output: () => number;
  /** Bytes in the output buffer, 0 for none. */
  readonly pglite_get_output_length: () => number;
  /** The host has copied the output buffer. Bytes of the next chunk, 0 for none, -EINVAL when there was nothing to acknowledge. */
  readonly pglite_ack_output: () => number;
  /** Both buffers empty, queued input and output dropped. */
  readonly pglite_reset_buffers: () => void;
}

/** What the callbacks module exports beside `GuestExports`. */
export interface CallbackExports extends GuestExports {
  readonly __indirect_function_table: WebAssembly.Table;
  /** Indices into the table of functions with the types of `TransportImports`; 0, 0 takes them away. Kept over sessions. */
  readonly set_read_write_cbs: (read: number, write: number) => void;
}

/** The first word of a buffer of the polling transport. */
export const BufferStatus = {
  /** The writer's turn. */
  EMPTY: 0,
  /** The reader's turn. */
  READY: 1,
} as const;

/** Byte offsets in a buffer of the polling transport. */
export const BufferField = { STATUS: 0, LENGTH: 4, DATA: 8 } as const;

/** Byte offsets in the control block of the polling transport; every field is 32 bits, little-endian. */
export const ControlField = {
  /** `CONTROL_MAGIC` */
  MAGIC: 0,
  BUFFER_SIZE: 4,
  /** See `Operation`. */
  OPERATION: 8,
  /** The last status of `interactive_one` or `pgl_backend`. */
  STATUS: 12,
  /** Chunks of input that were taken. */
  INPUT_CHUNKS: 16,
  /** Chunks of output that were acknowledged. */
  OUTPUT_CHUNKS: 20,
  /** The error number of the last call that was refused, 0 for none. */
  LAST_ERROR: 24,
  /** How many calls were refused. */
  ERRORS: 28,
} as const;

/** What the guest is doing, see `ControlField.OPERATION`. */
export const Operation = { NONE: 0, READING: 1, WRITING: 2, RUNNING: 3 } as const;

/** "PGC1" in memory. */
export const CONTROL_MAGIC = 0x31434750;

/** The form in which protocol bytes cross the contract. */
export type Transport = 'imports' | 'polling' | 'callbacks';

export interface ExportsOfTransport {
  imports: GuestExports;
  polling: PollingExports;
  callbacks: CallbackExports;
}

const GUEST_FUNCTIONS = [
  'pgl_initdb',
  'pgl_backend',
  'interactive_one',
  'pgcell_flush',
  'pgcell_input_wanted',
  'pgcell_output_pending',
  'pgcell_discard_input',
  'pgl_shutdown',
  'pgcell_set_memory_limit',
  'pgcell_signal_address',
  'pgcell_interrupt_address',
] as const satisfies readonly (keyof GuestExports)[];

const TRANSPORT_FUNCTIONS = {
  imports: [],
  polling: [
    'pglite_get_input_buffer',
    'pglite_get_output_buffer',
    'pglite_get_control',
    'pglite_get_buffer_size',
    'pglite_signal_input_ready',
    'pglite_has_output',
    'pglite_get_output_length',
    'pglite_ack_output',
    'pglite_reset_buffers',
  ],
  callbacks: ['set_read_write_cbs'],
} as const satisfies { [T in Transport]: readonly (keyof ExportsOfTransport[T])[] };

/**
 * Checks that a module's exports keep the contract and gives them their types. Calls nothing but `pgcell_contract_version()`.
 *
 * @throws ContractError that names the versions, or the export that is missing
 */
export function checkContract(exports: WebAssembly.Exports): GuestExports;
export function checkContract<T extends Transport>(exports: WebAssembly.Exports, transport: T): ExportsOfTransport[T];
export function checkContract(exports: WebAssembly.Exports, transport: Transport = 'imports'): GuestExports {
  const versionOf = exports['pgcell_contract_version'];
  if (typeof versionOf !== 'function') {
    throw new ContractError('this is not a module of pgcell: it has no export pgcell_contract_version');
  }
  const version: unknown = versionOf();
  if (version !== CONTRACT_VERSION) {
    throw new ContractError(`the module has version ${version} of the contract, this host has version ${CONTRACT_VERSION}`);
  }
  for (const name of [...GUEST_FUNCTIONS, ...TRANSPORT_FUNCTIONS[transport]]) {
    if (typeof exports[name] !== 'function') {
      throw new ContractError(`the module has no export ${name}; the ${transport} transport needs it`);
    }
  }
  for (const [other, names] of Object.entries(TRANSPORT_FUNCTIONS).filter(([name]) => name !== transport)) {
    if (names.some((name) => typeof exports[name] === 'function')) {
      throw new ContractError(`the module is for the ${other} transport, this handler for the ${transport} transport`);
    }
  }
  // by their shape, not instanceof: an instance may come from another realm
  if (!('buffer' in ((exports['memory'] as object | undefined) ?? {}))) {
    throw new ContractError('the module does not export its memory');
  }
  if (transport === 'callbacks' && !('grow' in ((exports['__indirect_function_table'] as object | undefined) ?? {}))) {
    throw new ContractError('the module does not export its table __indirect_function_table; the callbacks transport needs it');
  }
  return exports as unknown as GuestExports;
}
