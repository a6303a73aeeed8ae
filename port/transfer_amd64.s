#include "textflag.h"

// The kernel changes CX and R11 besides AX, and Go keeps nothing in registers across
// a call of an assembly function.

// func transfer(call, fd uintptr, b *byte, n int) int
TEXT ·transfer(SB), NOSPLIT, $0-40
	MOVQ	call+0(FP), AX
	MOVQ	fd+8(FP), DI
	MOVQ	b+16(FP), SI
	MOVQ	n+24(FP), DX
	SYSCALL
	MOVQ	AX, ret+32(FP)
	RET
