// Refusals that several operations of the OpenAPI document have stand in it once, under `components.responses`.
type Response = { readonly content?: Readonly<Record<string, { readonly examples?: Readonly<Record<string, unknown>> }>> };
type Operation = { readonly responses?: Record<string, Response | { readonly $ref: string }> };
type Document = { readonly paths?: object; components?: object };

/** @param document OpenAPI; it is changed */
export function shareRefusals<Shared extends Document>(document: Shared): Shared {
  const responses: Record<string, Response> = {};
  for (const operations of Object.values(document.paths ?? {}) as Record<string, Operation>[])
    for (const { responses: own = {} } of Object.values(operations))
      for (const [status, response] of Object.entries(own)) {
        const name = '$ref' in response ? undefined : nameOf(response);
        if (name === undefined) continue;
        responses[name] ??= response as Response;
        own[status] = { $ref: `#/components/responses/${name}` };
      }
  document.components = { ...document.components, responses };
  return document;
}

/** By its problems: `UserNotFoundOrNotFound`; undefined where it is none. Of the same problems every operation says the same. */
function nameOf({ content = {} }: Response): string | undefined {
  const { examples } = content['application/problem+json'] ?? {};
  if (examples === undefined) return undefined;
  const codes = Object.keys(examples);
  return codes.map((code) => code.replaceAll(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase())).join('Or');
}
