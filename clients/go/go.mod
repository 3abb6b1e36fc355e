module example.com/rollcall

go 1.26

require (
	github.com/oapi-codegen/runtime v1.9.0
	github.com/ogen-go/ogen v1.24.0
)
