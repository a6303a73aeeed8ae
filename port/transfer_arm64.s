#include "textflag.h"

// func transfer(call, fd uintptr, b *byte, n int) int
TEXT ·transfer(SB), NOSPLIT, $0-40
	MOVD	call+0(FP), R8
	MOVD	fd+8(FP), R0
	MOVD	b+16(FP), R1
	MOVD	n+24(FP), R2
	SVC
	MOVD	R0, ret+32(FP)
	RET
