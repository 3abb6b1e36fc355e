// JSON Schema with the static types of TypeBox. The objects are made here: the builder of the library loads 600 modules, a fifth of a
// second and 16 MiB of each process, for these few functions.
import type * as typebox from 'typebox';

type Schema = Readonly<Record<string, unknown>>;

/** Marks a property that may be left out; a symbol, so that no document has it. */
const optional = Symbol('optional');

const of =
  (type: string) =>
  (options: Schema = {}) => ({ type, ...options });

const builder = {
  Unknown: (options: Schema = {}) => options,
  Unsafe: (schema: Schema) => schema,
  Boolean: of('boolean'),
  Integer: of('integer'),
  Number: of('number'),
  String: of('string'),
  Literal: (value: string, options: Schema = {}) => ({ type: 'string', const: value, ...options }),
  Enum: (values: readonly string[], options: Schema = {}) => ({ enum: values, ...options }),
  Array: (items: Schema, options: Schema = {}) => ({ type: 'array', items, ...options }),
  Object(properties: Readonly<Record<string, Schema>>, options: Schema = {}) {
    const required = Object.keys(properties).filter((name) => !(optional in (properties[name] as object)));
    return { type: 'object', ...(required.length > 0 && { required }), properties, ...options };
  },
  Optional: (schema: Schema) => ({ ...schema, [optional]: true }),
};

export const Type = builder as unknown as Pick<typeof typebox.Type, keyof typeof builder>;
