/** The guest calls read and write functions of ours: what the import and the callback transports share. */
import { Errno } from './contract.ts';
import type { ExportsOfTransport, Transport } from './contract.ts';
import { SyncHandler } from './handler.ts';

export abstract class StreamHandler<T extends Transport> extends SyncHandler<T> {
  #hasHungUp = false;

  /** The client has ended the connection: once the input is read, the guest ends the session in good order. Until the next `start`. */
  hangUp(): void {
    this.#hasHungUp = true;
  }

  protected override clearHost(): void {
    super.clearHost();
    this.#hasHungUp = false;
  }

  protected override enterSession(exports: ExportsOfTransport[T], length: number, firstByte: number): number {
    this.#hasHungUp = false;
    return super.enterSession(exports, length, firstByte);
  }

  protected read(ptr: number, maxLength: number): number {
    const size = this.give(ptr >>> 0, maxLength >>> 0);
    return size === 0 && this.#hasHungUp && !this.hasFailed ? -Errno.EPIPE : size;
  }

  protected write(ptr: number, length: number): number {
    return this.take(ptr >>> 0, length >>> 0);
  }
}
