// A refusal that the caller can understand, and the one table of all of them (RFC 9457).

export const problems = {
  malformed_request: { status: 400, title: 'Malformed request' },
  malformed_body: { status: 400, title: 'Malformed body' },
  validation_failed: { status: 400, title: 'Validation failed' },
  cross_site_request: { status: 403, title: 'Cross-site request refused' },
  not_found: { status: 404, title: 'Not found' },
  user_not_found: { status: 404, title: 'User not found' },
  subscription_not_found: { status: 404, title: 'Subscription not found' },
  dead_letter_not_found: { status: 404, title: 'Dead letter not found' },
  method_not_allowed: { status: 405, title: 'Method not allowed' },
  request_timeout: { status: 408, title: 'Request timeout' },
  user_referenced: { status: 409, title: 'User is referenced by other data' },
  user_conflict: { status: 409, title: 'Value already taken' },
  user_rejected: { status: 409, title: 'Rejected by a database constraint' },
  dead_letter_refused: { status: 409, title: 'Dead letter cannot be redriven' },
  cursor_expired: { status: 410, title: 'Cursor expired' },
  body_too_large: { status: 413, title: 'Body too large' },
  unsupported_media_type: { status: 415, title: 'Unsupported media type' },
  expectation_failed: { status: 417, title: 'Expectation failed' },
  misdirected_request: { status: 421, title: 'Unknown host' },
  rate_limited: { status: 429, title: 'Too many requests' },
  headers_too_large: { status: 431, title: 'Headers too large' },
  internal_error: { status: 500, title: 'Internal error' },
  database_unavailable: { status: 503, title: 'Database unavailable' },
  overloaded: { status: 503, title: 'Overloaded' },
} as const satisfies Record<string, { status: number; title: string }>;

export type ProblemCode = keyof typeof problems;

/** One broken rule: where (`key`, within `source`) and what (`message`). The shape is that of the LiteStar service. */
export type Violation = { key: string; message: string; source: 'body' | 'query' | 'path' | 'header' };

export class Problem extends Error {
  readonly code: ProblemCode;
  readonly violations: readonly Violation[];
  readonly headers: Readonly<Record<string, string>>;

  /** @param detail said to the caller as it stands: never SQL, a stack or a secret */
  constructor(
    code: ProblemCode,
    detail: string,
    options: { violations?: readonly Violation[]; headers?: Record<string, string>; cause?: unknown } = {},
  ) {
    super(detail, { cause: options.cause });
    this.name = 'Problem';
    this.code = code;
    this.violations = options.violations ?? [];
    this.headers = options.headers ?? {};
  }

  get status(): number {
    return problems[this.code].status;
  }
}
