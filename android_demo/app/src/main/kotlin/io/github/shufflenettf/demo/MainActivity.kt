package io.github.shufflenettf.demo

import android.Manifest
import android.app.Activity
import android.content.ActivityNotFoundException
import android.content.Intent
import android.content.pm.PackageManager
import android.net.Uri
import android.os.Build
import android.os.Bundle
import android.provider.MediaStore
import android.provider.Settings

/** The camera's picture or a photo, and what the network calls it. */
class MainActivity : Activity() {
    private lateinit var session: Session
    private lateinit var screen: Screen
    private lateinit var live: LiveView
    private lateinit var preferences: Preferences
    private var started = false
    private var pickerMissing = false

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        setContentView(R.layout.main)
        preferences = Preferences(this)
        @Suppress("DEPRECATION") // the framework's own way to keep an object; its replacement is a library
        val former = lastNonConfigurationInstance as Session?
        session = former ?: Session(this)
        session.observer = ::show
        screen = Screen(this, session)
        live = LiveView(screen.preview, session.pipeline, LiveOwner())
        screen.picture.setOnClickListener { togglePause() }
        screen.live.setOnClickListener { goLive() }
        screen.photo.setOnClickListener { pickPhoto() }
        screen.settings.setOnClickListener { openSettings() }
        if (former == null) restore(state)
    }

    /** After the system has ended the app in the background, or at its start. */
    private fun restore(state: Bundle?) {
        val photo = if (state == null) intent.sharedPicture() else state.getString(PHOTO)?.let(Uri::parse)
        photo?.let(session::showPhoto)
    }

    override fun onSaveInstanceState(state: Bundle) {
        super.onSaveInstanceState(state)
        session.photoUri?.let { state.putString(PHOTO, it.toString()) }
    }

    @Suppress("OVERRIDE_DEPRECATION")
    override fun onRetainNonConfigurationInstance(): Any {
        session.observer = null
        return session
    }

    override fun onDestroy() {
        super.onDestroy()
        if (!isChangingConfigurations) session.close()
    }

    override fun onNewIntent(intent: Intent) {
        super.onNewIntent(intent)
        intent.sharedPicture()?.let(::showPhoto)
    }

    // In several windows an app that isn't touched is paused, yet visible: the camera runs from start to stop.
    override fun onStart() {
        super.onStart()
        started = true
        live.start()
        session.applyPreferences()
        if (!cameraAllowed() && !preferences.cameraAsked && session.mode == Mode.LIVE) askForCamera()
        openCamera()
    }

    override fun onResume() {
        super.onResume()
        if (!live.running) openCamera() // another app may have had it
    }

    override fun onStop() {
        super.onStop()
        started = false
        live.stop()
    }

    private fun cameraAllowed() = checkSelfPermission(Manifest.permission.CAMERA) == PackageManager.PERMISSION_GRANTED

    private fun askForCamera() {
        preferences.cameraAsked = true
        requestPermissions(arrayOf(Manifest.permission.CAMERA), CAMERA_REQUEST)
    }

    override fun onRequestPermissionsResult(code: Int, permissions: Array<out String>, results: IntArray) {
        super.onRequestPermissionsResult(code, permissions, results)
        openCamera()
    }

    private fun openCamera() {
        if (started && session.mode != Mode.PHOTO && cameraAllowed()) {
            live.open(session.usefulPixels)
            live.freeze(session.mode == Mode.PAUSED)
        }
        show()
    }

    private fun togglePause() {
        if (session.mode == Mode.PAUSED) return goLive()
        if (!live.running) return
        session.pause(live.picture())
        live.freeze(true)
    }

    private fun goLive() {
        pickerMissing = false
        session.resume()
        if (live.running) live.freeze(false) else openCamera()
    }

    private fun openSettings() = startActivity(Intent(this, SettingsActivity::class.java))

    private fun openAppSettings() =
        startActivity(Intent(Settings.ACTION_APPLICATION_DETAILS_SETTINGS, Uri.fromParts("package", packageName, null)))

    private fun pickPhoto() {
        val newPicker = Build.VERSION.SDK_INT >= Build.VERSION_CODES.TIRAMISU
        val intent = if (newPicker) Intent(MediaStore.ACTION_PICK_IMAGES) else Intent(Intent.ACTION_OPEN_DOCUMENT)
        intent.type = "image/*"
        if (!newPicker) intent.addCategory(Intent.CATEGORY_OPENABLE)
        try {
            startActivityForResult(intent, PHOTO_REQUEST)
        } catch (missing: ActivityNotFoundException) {
            pickerMissing = true
            show()
        }
    }

    override fun onActivityResult(request: Int, result: Int, data: Intent?) {
        super.onActivityResult(request, result, data)
        val photo = data?.data
        if (request == PHOTO_REQUEST && result == RESULT_OK && photo != null) showPhoto(photo)
    }

    private fun showPhoto(photo: Uri) {
        live.close()
        session.showPhoto(photo)
    }

    private fun show() = screen.show(obstacle())

    /** Returns what stands in the way of results, the most pressing first. */
    private fun obstacle(): Card? {
        val problem = session.problem
        val cameraProblem = live.problem
        val choose = Way(R.string.choose_photo, ::pickPhoto)
        val toCamera = Way(R.string.back_to_camera, ::goLive)
        fun card(title: Int, text: Int, first: Way, second: Way? = null) = Card(title, getString(text), first, second)
        return when {
            session.models.names.isEmpty() ->
                card(R.string.model_missing_title, R.string.model_missing_text, Way(R.string.settings_title, ::openSettings))
            problem != null ->
                Card(R.string.model_title, resources.sentence(problem), Way(R.string.other_model, ::openSettings))
            pickerMissing -> card(R.string.photo_title, R.string.photo_picker_missing, toCamera)
            session.photoFailed -> card(R.string.photo_title, R.string.photo_unreadable, choose, toCamera)
            session.mode == Mode.PHOTO -> null
            !cameraAllowed() && refusedForGood() -> {
                val settings = Way(R.string.permission_settings, ::openAppSettings)
                card(R.string.permission_title, R.string.permission_denied_text, settings, choose)
            }
            !cameraAllowed() -> {
                val allow = Way(R.string.permission_allow, ::askForCamera)
                card(R.string.permission_title, R.string.permission_text, allow, choose)
            }
            cameraProblem != null ->
                card(R.string.camera_title, cameraProblem, Way(R.string.try_again, ::openCamera), choose)
            else -> null
        }
    }

    /** Whether the system won't ask the user again. */
    private fun refusedForGood() = preferences.cameraAsked && !shouldShowRequestPermissionRationale(Manifest.permission.CAMERA)

    private inner class LiveOwner : LiveView.Owner {
        override fun onViewReady() = openCamera()

        override fun onLayout(camera: Camera?, display: Int) = screen.lay(camera, display)

        override fun onCameraProblem() = show()
    }

    private companion object {
        const val CAMERA_REQUEST = 1
        const val PHOTO_REQUEST = 2
        const val PHOTO = "photo"
    }
}
