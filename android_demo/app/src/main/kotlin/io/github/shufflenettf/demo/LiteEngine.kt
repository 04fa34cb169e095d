package io.github.shufflenettf.demo

import io.github.shufflenettf.core.Engine
import org.tensorflow.lite.Interpreter
import org.tensorflow.lite.gpu.CompatibilityList
import org.tensorflow.lite.gpu.GpuDelegate
import java.nio.ByteBuffer

/**
 * Runs a model with TensorFlow Lite.
 *
 * @property onGpu whether the GPU runs it.
 */
internal class LiteEngine private constructor(private val interpreter: Interpreter, private val delegate: GpuDelegate?) : Engine {
    val onGpu: Boolean = delegate != null
    private val inputs = arrayOfNulls<Any>(1)
    private val outputs = HashMap<Int, Any>(1)

    override fun run(input: ByteBuffer, output: ByteBuffer) {
        inputs[0] = input
        outputs[0] = output
        interpreter.runForMultipleInputsOutputs(inputs, outputs)
    }

    override fun close() {
        interpreter.close() // before its delegate
        delegate?.close()
    }

    companion object {
        /**
         * Creates an interpreter; must be called in the thread that runs it, because GPU delegates require it.
         *
         * @param model the whole file, in a direct buffer.
         * @param threads CPU threads for XNNPACK.
         * @param gpu whether to try the GPU; if it can't run the model, the CPU does.
         * @throws RuntimeException the interpreter rejects the model.
         */
        fun create(model: ByteBuffer, threads: Int, gpu: Boolean): LiteEngine = try {
            (if (gpu) onGpu(model) else null) ?: LiteEngine(Interpreter(model, options(threads)), null)
        } catch (failure: LinkageError) { // a processor that TensorFlow Lite isn't compiled for
            throw IllegalStateException(failure.message, failure)
        }

        private fun options(threads: Int): Interpreter.Options = Interpreter.Options().apply {
            setNumThreads(threads)
            setUseXNNPACK(true)
        }

        private fun onGpu(model: ByteBuffer): LiteEngine? {
            var delegate: GpuDelegate? = null
            return try {
                val supported = CompatibilityList().use { if (it.isDelegateSupportedOnThisDevice) it.bestOptionsForThisDevice else null }
                supported?.let {
                    delegate = GpuDelegate(it)
                    LiteEngine(Interpreter(model, Interpreter.Options().addDelegate(delegate)), delegate)
                }
            } catch (failure: RuntimeException) { // an unsupported operator, or a failing driver
                delegate?.close()
                null
            } catch (failure: LinkageError) { // no driver
                null
            }
        }
    }
}
