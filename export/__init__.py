"""Everything after training: conversion, quantization, optimization, verification and benchmarks of .tflite files."""
