// A run that ends by itself once its tests have (--test-force-exit) drops what its parent has not read of the report yet, and with it
// whole tests. Writing waits for the reader instead.
const { _handle: handle } = process.stdout as unknown as { readonly _handle?: { setBlocking?(blocking: boolean): void } };
handle?.setBlocking?.(true);
