// Values that callers make up: JSON objects of any shape, within what PostgreSQL and JavaScript both keep as it was sent.
import { Ajv2020, type FuncKeywordDefinition } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';

/** What a keyword compiles to. */
type Check = ReturnType<NonNullable<FuncKeywordDefinition['compile']>>;

/** @returns the first thing in it that would not come back as it was sent, in words; undefined where all would */
function findLoss(value: unknown, depth = 1): string | undefined {
  if (typeof value === 'string') return lossOf(value);
  if (typeof value === 'number')
    return Number.isFinite(value) && (Math.abs(value) <= Number.MAX_SAFE_INTEGER || !Number.isInteger(value))
      ? undefined
      : 'must not hold numbers beyond 9007199254740991, which are not exact: send them as texts';
  if (typeof value !== 'object' || value === null) return undefined;
  if (depth > depthMax) return `must not be nested more than ${depthMax} levels deep`;
  for (const [name, item] of Object.entries(value)) {
    const loss = lossOf(name) ?? findLoss(item, depth + 1);
    if (loss !== undefined) return loss;
  }
  return undefined;
}

/** Less than that of a body, so that what a patch made can be sent as a whole, too. */
const depthMax = 30;

// jsonb has no U+0000, and its encoding no lone surrogates.
const lossOf = (text: string) =>
  text.includes('\u0000') || !text.isWellFormed() ? 'must not hold the character U+0000 or lone surrogates' : undefined;

/**
 * A schema that an operator wrote: in the vocabulary of 2020-12, and with whatever else stands in it left alone.
 * @throws where it is none, or refers to what is not in it
 */
export function compileSchema(schema: object) {
  const ajv = new Ajv2020({ strict: false, allErrors: true, logger: false });
  addFormats.default(ajv);
  return ajv.compile(schema);
}

/** `x-json-schema`: the schema that an operator wrote for these values. `x-bytes-max`: of an object, the octets of its JSON; and that everything in it comes back as it was sent. */
export function addDocumentKeywords(ajv: Ajv2020): void {
  ajv.addKeyword({
    keyword: 'x-bytes-max',
    schemaType: 'number',
    type: 'object',
    errors: true,
    compile(max: number) {
      const check: Check = (value) => {
        const isLarge = Buffer.byteLength(JSON.stringify(value)) > max;
        const message = isLarge ? `must have at most ${max} bytes as JSON` : findLoss(value);
        check.errors = message === undefined ? [] : [{ keyword: 'x-bytes-max', message, params: {} }];
        return message === undefined;
      };
      return check;
    },
  });
  ajv.addKeyword({
    keyword: 'x-json-schema',
    schemaType: 'object',
    errors: 'full',
    compile(schema: object) {
      const validate = compileSchema(schema);
      const check: Check = (value, at) => {
        const isValid = validate(value);
        check.errors = (validate.errors ?? []).map((error) => ({
          ...error,
          instancePath: `${at?.instancePath ?? ''}${error.instancePath}`,
        }));
        return isValid;
      };
      return check;
    },
  });
}
