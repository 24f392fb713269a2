// A LiteRT file, frame by frame, on Android. Gradle: implementation("com.google.ai.edge.litert:litert:1.4.0")

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.tensorflow.lite.Interpreter

private const val SIGNATURE = "serving_default"

class Matting(model: File, threads: Int = 4) : AutoCloseable {
    private val interpreter = Interpreter(model, Interpreter.Options().setNumThreads(threads))
    private val states = listOf("r1", "r2", "r3", "r4")

    /** The frame, NHWC floats: R, G and B of each pixel in [0, 1]. Write it from position 0. */
    val src: ByteBuffer = floats(interpreter.getInputTensorFromSignature("src", SIGNATURE).shape())
    /** The foreground, as `src`, and the alpha, one float for each pixel. Read them from position 0. */
    val fgr: ByteBuffer = floats(interpreter.getOutputTensorFromSignature("fgr", SIGNATURE).shape())
    val pha: ByteBuffer = floats(interpreter.getOutputTensorFromSignature("pha", SIGNATURE).shape())

    private var before = stateBuffers()
    private var after = stateBuffers()

    /** Compute `fgr` and `pha` of the frame in `src`. */
    fun matte() {
        (listOf(src, fgr, pha) + before + after).forEach { it.rewind() }
        val inputs = mapOf<String, Any>("src" to src) + states.zip(before) { name, state -> "${name}i" to state }
        val outputs = mapOf<String, Any>("fgr" to fgr, "pha" to pha) +
            states.zip(after) { name, state -> "${name}o" to state }
        interpreter.runSignature(inputs, outputs, SIGNATURE)
        before = after.also { after = before }
    }

    /** Begin again, before another clip or after a cut. */
    fun reset() {
        before = stateBuffers()
    }

    override fun close() = interpreter.close()

    private fun stateBuffers() =
        states.map { floats(interpreter.getInputTensorFromSignature("${it}i", SIGNATURE).shape()) }

    private fun floats(shape: IntArray): ByteBuffer =
        ByteBuffer.allocateDirect(4 * shape.fold(1, Int::times)).order(ByteOrder.nativeOrder())
}
