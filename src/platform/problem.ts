// A refusal that the caller can understand (RFC 9457). Each kind is declared by its owner; those here may come from anywhere.

export type ProblemKind = {
  /** Stays as it is: callers tell problems by it. */
  readonly code: string;
  readonly status: number;
  readonly title: string;
  /** A detail, as the documents show it. */
  readonly example?: string;
};

/** @param table by code */
export function defineProblems<Code extends string>(table: Readonly<Record<Code, Omit<ProblemKind, 'code'>>>) {
  const kinds = Object.entries<Omit<ProblemKind, 'code'>>(table).map(([code, kind]) => [code, { code, ...kind }]);
  return Object.fromEntries(kinds) as { readonly [Name in Code]: ProblemKind };
}

export const problems = defineProblems({
  malformed_request: { status: 400, title: 'Malformed request', example: 'The path is not valid percent-encoding.' },
  malformed_body: { status: 400, title: 'Malformed body', example: 'The body is not valid JSON.' },
  validation_failed: { status: 400, title: 'Validation failed', example: 'Validation failed for POST /users/' },
  cross_site_request: { status: 403, title: 'Cross-site request refused' },
  not_found: { status: 404, title: 'Not found' },
  method_not_allowed: { status: 405, title: 'Method not allowed' },
  request_timeout: { status: 408, title: 'Request timeout' },
  patch_conflict: { status: 409, title: 'Patch does not fit', example: 'Operation 2 does not fit: the value is another.' },
  body_too_large: { status: 413, title: 'Body too large', example: 'The body is larger than 32 KiB.' },
  unsupported_media_type: { status: 415, title: 'Unsupported media type' },
  expectation_failed: { status: 417, title: 'Expectation failed' },
  misdirected_request: { status: 421, title: 'Unknown host' },
  rate_limited: { status: 429, title: 'Too many requests' },
  headers_too_large: { status: 431, title: 'Headers too large' },
  internal_error: { status: 500, title: 'Internal error' },
  database_unavailable: { status: 503, title: 'Database unavailable' },
  overloaded: { status: 503, title: 'Overloaded' },
});

/** One broken rule: where (`key`, within `source`) and what (`message`). The shape is that of the LiteStar service. */
export type Violation = { key: string; message: string; source: 'body' | 'query' | 'path' | 'header' };

export class Problem extends Error {
  readonly kind: ProblemKind;
  readonly violations: readonly Violation[];
  readonly headers: Readonly<Record<string, string>>;

  /** @param detail said to the caller as it stands: never SQL, a stack or a secret */
  constructor(
    kind: ProblemKind,
    detail: string,
    options: { violations?: readonly Violation[]; headers?: Record<string, string>; cause?: unknown } = {},
  ) {
    super(detail, { cause: options.cause });
    this.name = 'Problem';
    this.kind = kind;
    this.violations = options.violations ?? [];
    this.headers = options.headers ?? {};
  }

  get code(): string {
    return this.kind.code;
  }

  get status(): number {
    return this.kind.status;
  }
}
